"""`tidings send`, `listen` and `history` as processes: what they print, where, and how they end."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.integration.sdk.broker import Mosquitto, profile_of, served
from tests.unit.session.server import ALICE, BOB, LAPTOP, PHONE, WITH_BOB, Server, text
from tidings import profile
from tidings.cache import Cache
from tidings.protocol.payloads import SendMessage
from tidings.session import Position, Unsent

TIDINGS = Path(sys.executable).parent / "tidings"


class Done:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    profile.save("bob", profile_of(BOB, LAPTOP, 1), folder)
    profile.save("alice", profile_of(ALICE, PHONE, 1), folder)
    return folder


@pytest.fixture
def broker(tmp_path: Path, home: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    profile.save("alice", profile_of(ALICE, PHONE, mosquitto.port), home)
    with mosquitto.running():
        yield mosquitto


async def tidings(home: Path, *arguments: str) -> Done:
    environment = {**os.environ, "TIDINGS_HOME": str(home), "TZ": "UTC", "COLUMNS": "120"}
    process = await asyncio.create_subprocess_exec(
        TIDINGS, *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.mosquitto
async def test_send_waits_until_it_is_stored_and_tells_the_number(broker: Mosquitto, home: Path) -> None:
    async with served(broker.port, Server()):
        done = await tidings(home, "send", "--as", "alice", "bob", "hi")
        assert (done.status, done.out) == (0, f"stored as number 1 of {WITH_BOB}\n"), done.err
        done = await tidings(home, "send", "--as", "alice", BOB, "again", "--json")
        assert (done.status, json.loads(done.out)) == (0, {"conv": WITH_BOB, "seq": 2}), done.err


@pytest.mark.mosquitto
async def test_a_refused_message_ends_in_one_line_and_status_1(broker: Mosquitto, home: Path) -> None:
    server = Server()
    server.refusing = "unknownRecipient"
    async with served(broker.port, server):
        done = await tidings(home, "send", "--as", "alice", "bob", "hi")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "unknownRecipient" in done.err


@pytest.mark.mosquitto
async def test_no_answer_is_status_3_and_the_next_send_brings_both(broker: Mosquitto, home: Path) -> None:
    done = await tidings(home, "send", "--as", "alice", "bob", "first", "--timeout", "1")
    assert (done.status, done.err.count("\n")) == (3, 1)
    server = Server()
    async with served(broker.port, server):
        assert (await tidings(home, "send", "--as", "alice", "bob", "second")).status == 0
    assert [entry.body for entry in server.logs[WITH_BOB]] == ["first", "second"]


@pytest.mark.mosquitto
async def test_listen_prints_what_came_once_and_tells_the_sender(broker: Mosquitto, home: Path) -> None:
    server = Server()
    for number in range(3):
        server.say(WITH_BOB, BOB, LAPTOP, text(number, WITH_BOB))
    async with served(broker.port, server):
        done = await tidings(home, "listen", "--as", "alice", "--count", "2", "--json")
        assert done.status == 0, done.err
        assert [json.loads(line)["body"] for line in done.out.splitlines()] == ["text 0", "text 1"]
        assert server.marks[WITH_BOB][ALICE, "read"] >= 2
        done = await tidings(home, "listen", "--as", "alice", "--count", "1")
        assert done.out.splitlines() == ["1970-01-01 00:00:00 #3 bob: text 2"]


@pytest.mark.mosquitto
async def test_what_was_said_before_the_login_is_history_not_news(broker: Mosquitto, home: Path) -> None:
    profile.begin_now("alice", 3, home)
    server = Server()
    for number in range(4):
        server.say(WITH_BOB, BOB, LAPTOP, text(number, WITH_BOB))
    async with served(broker.port, server):
        done = await tidings(home, "listen", "--as", "alice", "--count", "2")
    assert [line.split("text ")[1] for line in done.out.splitlines()] == ["2", "3"]


@pytest.mark.mosquitto
async def test_history_is_not_told_to_be_read(broker: Mosquitto, home: Path) -> None:
    profile.begin_now("alice", 10**15, home)
    server = Server()
    server.say(WITH_BOB, BOB, LAPTOP, text(1, WITH_BOB))
    async with served(broker.port, server):
        listening = asyncio.create_task(tidings(home, "listen", "--as", "alice"))
        async with asyncio.timeout(20):
            while (ALICE, "delivered") not in server.marks[WITH_BOB]:
                await asyncio.sleep(0.02)
        listening.cancel()
        await asyncio.wait([listening])
    assert (ALICE, "read") not in server.marks[WITH_BOB]


async def test_a_second_listener_is_told_so(home: Path) -> None:
    with profile.held("alice", home) as free:
        assert free
        done = await tidings(home, "listen", "--as", "alice")
    assert (done.status, done.err) == (1, "tidings: another process is connected as alice; stop it first\n")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("send", "--as", "carol", "bob", "hi"), 1, "no account 'carol'"),
        (("send", "--as", "alice", "nobody", "hi"), 1, "no user id, conversation id or known account"),
        (("send", "--as", "../x", "bob", "hi"), 1, "no account name"),
        (("history", "--as", "alice", "bob"), 3, "does not answer"),
        (("send", "--as", "alice", "bob"), 2, "Missing argument"),
        (("nonsense",), 2, "No such command"),
    ],
)
async def test_mistakes_end_in_words_never_in_a_traceback(
    home: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    done = await tidings(home, *arguments)
    assert (done.status, done.out) == (status, "")
    assert says in done.err
    assert "Traceback" not in done.err
    if status != 2:
        assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["send", "listen", "history"])
async def test_help_has_an_example_and_the_exit_status(command: str, home: Path) -> None:
    done = await tidings(home, command, "--help")
    assert done.status == 0
    assert f"Example: tidings {command} --as" in done.out
    assert "Exit status:" in done.out


def test_profiles_are_private_and_come_back_whole(home: Path) -> None:
    assert (home / "alice.json").stat().st_mode & 0o777 == 0o600
    assert profile.load("alice", home) == profile_of(ALICE, PHONE, 1)
    assert profile.names(home) == ["alice", "bob"]
    (home / "bad.json").write_text("{")
    with pytest.raises(profile.ProfileError, match="no profile"):
        profile.load("bad", home)


def test_a_cache_keeps_order_and_positions(tmp_path: Path) -> None:
    first, second = (Unsent(WITH_BOB, SendMessage(text(n, WITH_BOB).id, "x"), n) for n in (1, 2))
    with Cache(tmp_path / "a.db") as cache:
        cache.put(first)
        cache.put(second)
        cache.put(replace(first, tried=True))
        cache.reached(WITH_BOB, Position(0, 7, 3))
    with Cache(tmp_path / "a.db") as cache:
        assert list(cache.entries()) == [replace(first, tried=True), second]
        cache.remove(WITH_BOB, first.message.id)
        assert list(cache.entries()) == [second]
        assert cache.positions() == {WITH_BOB: Position(0, 7, 3)}
