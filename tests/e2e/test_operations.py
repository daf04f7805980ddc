"""What an operator meets: dead letters, the amqtt broker, settings in one line."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.people import connected, next_on, register
from tests.processes import BIN, TidingsUp

pytestmark = pytest.mark.slow


def tidings(server: TidingsUp, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "tidings", *arguments], env=server.environment(), capture_output=True, text=True, timeout=30, check=False
    )


async def test_dead_letters_are_listed_shown_replayed_and_dropped(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data").start()
    try:
        alice, bob = await register(server, "Alice"), await register(server, "Bob")
        conv = alice.conversation_with(bob)
        async with connected(server, alice) as at_alice:
            for number in range(2):
                await at_alice.publish(alice.out(conv), b"\xffnot a payload %d" % number, qos=1)
                await next_on(at_alice, "/in/error")
        letters: list[dict[str, Any]] = json.loads(tidings(server, "bridge", "dead", "list", "--json").stdout)
        assert [letter["code"] for letter in letters] == ["badPayload"] * 2
        first, second = (str(letter["number"]) for letter in letters)
        assert "not a payload 0" in tidings(server, "bridge", "dead", "show", first).stdout
        assert "badPayload" in tidings(server, "bridge", "dead", "list").stdout

        replayed = tidings(server, "bridge", "dead", "replay", first)
        assert (replayed.returncode, replayed.stdout) == (0, "1 replayed\n"), replayed.stderr
        after = json.loads(tidings(server, "bridge", "dead", "list", "--json").stdout)
        assert first not in [str(letter["number"]) for letter in after]
        assert len(after) == 2, "what is still undecodable is kept again, under a new number"

        assert tidings(server, "bridge", "dead", "drop", second).stdout == "1 dropped\n"
        assert tidings(server, "bridge", "dead", "drop", second).returncode == 1
        missing = tidings(server, "bridge", "dead", "show", second)
        assert missing.returncode == 1
        assert missing.stderr.count("\n") == 1
    finally:
        server.stop()


async def test_a_replay_needs_a_running_server(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data").start()
    server.stop()
    done = tidings(server, "bridge", "dead", "replay", "1")
    assert done.returncode == 3
    assert "no server runs" in done.stderr


def test_sms_without_messages_is_one_line(tmp_path: Path) -> None:
    done = tidings(TidingsUp(tmp_path / "data"), "sms")
    assert done.returncode == 1
    assert done.stderr.startswith("tidings: no message")


@pytest.mark.parametrize(
    ("setting", "value", "status"), [("mqtt_port", "99999", 2), ("broker", "rabbit", 2), ("data", "/dev/null/x", 2)]
)
def test_a_bad_setting_ends_in_one_line(tmp_path: Path, setting: str, value: str, status: int) -> None:
    server = TidingsUp(tmp_path / "data")
    environment = server.environment() | {f"TIDINGS_{setting.upper()}": value}
    done = subprocess.run(
        [BIN / "tidings", "up"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("tidings: ")


@pytest.mark.parametrize("command", ["up", "demo", "sms", "bridge", "send", "listen", "history", "login"])
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str) -> None:
    done = tidings(TidingsUp(tmp_path / "data"), command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout


async def test_the_amqtt_broker_carries_a_conversation(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data", broker="amqtt").start()
    try:
        alice, bob = await register(server, "Alice"), await register(server, "Bob")
        conv = alice.conversation_with(bob)
        async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
            await at_alice.publish(alice.out(conv), json.dumps({"id": "m1", "body": "by amqtt", "to": bob.user}), qos=1)
            assert (await next_on(at_bob, "/in/msg"))["body"] == "by amqtt"
            assert (await next_on(at_alice, "/in/msg"))["id"] == "m1"
    finally:
        server.stop()


def test_every_part_tells_its_metrics(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data").start()
    try:
        told = httpx.get(f"{server.url}/metrics").text
    finally:
        server.stop()
    for area in ("broker", "bridge", "stores", "services"):
        assert f"\ntidings_{area}_" in told, area
