"""`tidings login`, `send`, `listen` and `history` as processes against a running server, as people use them."""

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from acl import keys
from acl.tokens import Claims, issue
from app.cast import read_code
from tests.e2e.people import PHONES, register
from tests.e2e.sdk import new_group, profile_of
from tests.processes import BIN, TidingsUp, free_port
from tidings import profile
from tidings.aio import now_ms
from tidings.protocol import ids

pytestmark = pytest.mark.timeout(90)


class Home:
    """A folder of accounts, and commands run on it."""

    def __init__(self, folder: Path, server: TidingsUp) -> None:
        self.folder, self.server = folder, server

    async def account(self, name: str) -> profile.Profile:
        """Register somebody, kept as an account of that name."""
        found = profile_of(self.server, await register(self.server, name.title()))
        profile.save(name, found, self.folder)
        return found

    async def start(self, *arguments: str) -> Process:
        """Start a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        environment = {**kept, "TIDINGS_HOME": str(self.folder), "TZ": "UTC", "COLUMNS": "120"}
        return await asyncio.create_subprocess_exec(
            BIN / "tidings", *arguments, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command to its end: exit status, stdout, stderr."""
        process = await self.start(*arguments)
        return await ended(process)

    @asynccontextmanager
    async def listening(self, *arguments: str) -> AsyncIterator[Process]:
        """Have a `tidings listen` run that holds its account's session."""
        process = await self.start("listen", *arguments)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def ended(process: Process, *, within: float = 30) -> tuple[int, str, str]:
    try:
        out, err = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"still running after {within} s: {out!r} {err!r}") from None
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def next_line(process: Process) -> dict[str, Any]:
    """The next line of a `listen --json`."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert line, await ended(process)
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.fixture
def home(server: TidingsUp, tmp_path: Path) -> Home:
    return Home(tmp_path, server)


async def test_who_logs_in_is_asked_for_the_code_and_can_speak_at_once(home: Home) -> None:
    bob = await home.account("bob")
    phone = f"+{next(PHONES)}"
    process = await home.start("login", phone, "--as", "alice", "--server", home.server.url, "--name", "Alice")
    assert process.stderr is not None
    assert process.stdin is not None
    asked = await asyncio.wait_for(process.stderr.readuntil(b": "), 20)
    assert asked == f"Code that was sent to {phone}: ".encode()
    process.stdin.write(read_code(home.server.data, phone).encode() + b"\n")
    status, out, err = await ended(process)
    assert (status, out) == (0, f"logged in; alice is kept in {home.folder / 'alice.json'}\n"), err
    status, out, err = await home.run("send", "--as", "alice", "bob", "hi", "--json")
    conv = ids.direct_conversation(profile.load("alice", home.folder).user, bob.user)
    assert (status, json.loads(out)) == (0, {"conv": conv, "seq": 2}), err


async def test_a_wrong_code_is_refused_in_one_line(home: Home) -> None:
    phone = f"+{next(PHONES)}"
    process = await home.start("login", phone, "--as", "alice", "--server", home.server.url)
    assert process.stderr is not None
    assert process.stdin is not None
    await asyncio.wait_for(process.stderr.readuntil(b": "), 20)
    process.stdin.write(b"no code\n")
    status, out, err = await ended(process)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "Traceback" not in err
    assert not (home.folder / "alice.json").exists()


async def test_send_listen_and_history_work_together(home: Home) -> None:
    await home.account("alice")
    await home.account("bob")
    async with home.listening("--as", "bob", "--json", "--count", "2") as at_bob:
        status, out, err = await home.run("send", "--as", "alice", "bob", "hi")
        assert status == 0, err
        assert re.fullmatch(r"stored as number 2 of [0-9a-z]{31}\n", out)
        assert (await next_line(at_bob))["kind"] == "direct.created"
        assert (await next_line(at_bob))["body"] == "hi"
        await home.run("send", "--as", "alice", "bob", "there")
        status, rest, _ = await ended(at_bob)
        assert (status, json.loads(rest)["body"]) == (0, "there")
    status, out, _ = await home.run("history", "--as", "alice", "bob", "--limit", "2")
    assert status == 0
    assert [line.split(" ", 2)[2] for line in out.splitlines()] == ["#2 alice: hi", "#3 alice: there"]


async def test_a_listener_goes_on_where_the_last_one_ended(home: Home) -> None:
    await home.account("alice")
    await home.account("bob")
    for number in range(3):
        assert (await home.run("send", "--as", "alice", "bob", f"{number}"))[0] == 0
    seen = []
    for _ in range(3):
        status, out, err = await home.run("listen", "--as", "bob", "--count", "1", "--json")
        assert status == 0, err
        seen += [entry["body"] for line in out.splitlines() if (entry := json.loads(line))["kind"] == "text"]
    assert seen == ["0", "1", "2"]


async def test_send_goes_by_http_while_a_listener_holds_the_session(home: Home) -> None:
    await home.account("alice")
    await home.account("bob")
    async with home.listening("--as", "alice", "--json") as at_alice:
        assert (await home.run("send", "--as", "bob", "alice", "are you there?"))[0] == 0
        for _ in range(2):
            await next_line(at_alice)
        status, out, err = await home.run("send", "--as", "alice", "bob", "by HTTP", "--json")
        assert (status, json.loads(out)["seq"]) == (0, 3), err
        assert (await next_line(at_alice))["body"] == "by HTTP", "the listener was cut off"
        at_alice.send_signal(signal.SIGINT)
        assert (await ended(at_alice))[0] == 0


async def test_a_group_is_spoken_to_by_its_conversation(home: Home) -> None:
    alice, bob = await home.account("alice"), await home.account("bob")
    conv = await new_group(home.server, alice, bob)
    assert (await home.run("send", "--as", "alice", conv, "all of you"))[0] == 0
    status, out, err = await home.run("history", "--as", "bob", conv, "--json")
    assert (status, json.loads(out.splitlines()[-1])["body"]) == (0, "all of you"), err


@pytest.mark.parametrize("by", ["MQTT", "HTTP"])
async def test_an_unknown_recipient_is_one_line_and_status_1(home: Home, by: str) -> None:
    await home.account("alice")
    with profile.held("alice", home.folder) if by == "HTTP" else profile.held("another", home.folder):
        status, out, err = await home.run("send", "--as", "alice", ids.make_user_id(bytes(11)), "anybody?")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "unknownRecipient" in err
    again = await home.run("send", "--as", "alice", ids.make_user_id(bytes(11)), "anybody?")
    assert again[0] == 1, "what was refused is not kept in the outbox"


@pytest.mark.parametrize("command", ["send", "listen", "history", "login"])
async def test_a_server_that_is_not_there_is_one_line_and_status_3(home: Home, command: str) -> None:
    alice, nowhere = await home.account("alice"), free_port()
    url = f"http://127.0.0.1:{nowhere}"
    profile.save("alice", replace(alice, server=url, ports={"mqtt": nowhere}), home.folder)
    arguments = {
        "send": ("send", "--as", "alice", alice.user, "hi", "--timeout", "1"),
        "listen": ("listen", "--as", "alice"),
        "history": ("history", "--as", "alice", alice.user),
        "login": ("login", "+49151", "--as", "new", "--server", url),
    }[command]
    status, out, err = await home.run(*arguments)
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["send", "listen", "history"])
async def test_an_expired_token_is_renewed_without_a_word(home: Home, command: str) -> None:
    alice = await home.account("alice")
    bob = await home.account("bob")
    assert (await home.run("send", "--as", "bob", "alice", "hi"))[0] == 0
    profile.save("alice", expired(home, alice), home.folder)
    arguments = {
        "send": ("send", "--as", "alice", bob.user, "hi"),
        "listen": ("listen", "--as", "alice", "--count", "1"),
        "history": ("history", "--as", "alice", bob.user),
    }[command]
    status, _, err = await home.run(*arguments)
    assert (status, err) == (0, "")
    assert profile.load("alice", home.folder).refresh_token != alice.refresh_token


@pytest.mark.parametrize("command", ["send", "listen", "history"])
async def test_an_expired_login_is_one_line_and_status_1(home: Home, command: str) -> None:
    alice = await home.account("alice")
    profile.save("alice", replace(expired(home, alice), refresh_token="used up"), home.folder)
    arguments = {
        "send": ("send", "--as", "alice", alice.user, "hi"),
        "listen": ("listen", "--as", "alice"),
        "history": ("history", "--as", "alice", alice.user),
    }[command]
    status, out, err = await home.run(*arguments)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "og in" in err


def expired(home: Home, who: profile.Profile) -> profile.Profile:
    """The profile with a token whose time is over."""
    now = now_ms()
    signing = keys.load(home.server.data / "keys.json")
    token = issue(signing, Claims(who.user, who.device, "device", now - 60_000, now - 5_000))
    return replace(who, token=token, expires_at=now - 5_000)
