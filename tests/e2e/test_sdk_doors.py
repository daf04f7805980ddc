"""The ways into a broker: tokens that are refused and renewed, brokers that know MQTT 3.1.1 alone, TLS, WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from acl import keys
from acl.tokens import Claims, issue
from tests.e2e.sdk import listening, new_profile
from tests.processes import TidingsUp
from tidings import profile
from tidings.aio import Client, now_ms
from tidings.profile import Profile
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.renewal import renewed
from tidings.session import State


def token_of(server: TidingsUp, who: Profile, lifetime: int) -> str:
    """Sign a token as the server does, for a lifetime (ms) that no setting allows."""
    now = now_ms()
    signing = keys.load(server.data / "keys.json")
    return issue(signing, Claims(who.user, who.device, "device", now - 10_000, now + lifetime))


class Renewals:
    """Renews by the server's API, and counts."""

    def __init__(self, home: Path, who: Profile) -> None:
        profile.save("alice", who, home)
        self._home = home
        self.count = 0
        self.down = 0

    async def __call__(self, stale: Profile) -> Profile:
        self.count += 1
        if self.down:
            self.down -= 1
            raise Refusal(Code.UNAVAILABLE, "the API does not answer")
        return await renewed("alice", stale, now_ms(), self._home)


@pytest.mark.parametrize("token", ["forged", "expired"])
async def test_a_refused_token_is_renewed_once_and_kept(server: TidingsUp, tmp_path: Path, token: str) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    stale = replace(alice, token="forged" if token == "forged" else token_of(server, alice, -5_000))
    renewals = Renewals(tmp_path, stale)
    async with Client(stale, refresh=renewals) as client:
        assert await client.send_to(bob.user, "hi") == 2
    assert renewals.count == 1
    assert profile.load("alice", tmp_path).token == client.profile.token != stale.token


async def test_a_token_that_ends_in_mid_conversation_is_renewed_and_nothing_is_lost(
    server: TidingsUp, tmp_path: Path
) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    short = replace(alice, token=token_of(server, alice, 4_000))
    renewals = Renewals(tmp_path, short)
    async with listening(short, refresh=renewals) as at_alice, listening(bob) as at_bob:
        number = 0
        while not renewals.count or not at_alice.client.connected.is_set():
            await at_alice.client.send_to(bob.user, f"{number}")
            number += 1
        await at_alice.client.send_to(bob.user, "end")
        await at_bob.until(lambda at: at.bodies(conv)[-1:] == ["end"])
        assert at_bob.bodies(conv) == [*(f"{n}" for n in range(number)), "end"]
        assert at_alice.entries(conv) == at_bob.entries(conv)


async def test_an_api_that_is_down_while_a_token_is_renewed_is_asked_again(server: TidingsUp, tmp_path: Path) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    stale = replace(alice, token=token_of(server, alice, -5_000))
    renewals = Renewals(tmp_path, stale)
    renewals.down = 1
    async with Client(stale, refresh=renewals) as client:
        assert await client.send_to(bob.user, "hi") == 2
    assert renewals.count == 2


async def test_a_refused_token_that_cannot_be_renewed_ends_the_client(server: TidingsUp) -> None:
    alice = replace(await new_profile(server, "Alice"), token="forged")
    async with Client(alice) as client:
        with pytest.raises(Refusal, match="log in again"):
            await client.send_to(alice.user, "hi")
        with pytest.raises(Refusal, match="log in again"):
            async for _ in client:
                pass


# MQTT 3.1.1.


@asynccontextmanager
async def refusing(refusal: bytes, to: int) -> AsyncIterator[int]:
    """A broker that refuses a CONNECT of MQTT 5 with these bytes; gives its port. Others it passes on."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readuntil(b"MQTT")
            level = await reader.readexactly(1)
            levels.append(level[0])
            if level == b"\5":
                writer.write(refusal)
            else:
                from_broker, to_broker = await asyncio.open_connection("127.0.0.1", to)
                to_broker.write(first + level)
                back = asyncio.create_task(relay(from_broker, writer))
                await relay(reader, to_broker)
                back.cancel()
                to_broker.close()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)

    levels: list[int] = []
    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
        assert levels[:2] == [5, 4]
    finally:
        listener.close()


@pytest.mark.parametrize(
    "refusal",
    [b"\x20\x03\x00\x84\x00", b"\x20\x02\x00\x01"],
    ids=["as MQTT 5 says it", "as MQTT 3.1.1 says it"],
)
async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(server: TidingsUp, refusal: bytes) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    async with refusing(refusal, alice.ports["mqtt"]) as port, listening(bob) as at_bob:
        async with listening(replace(alice, ports={"mqtt": port})) as at_alice:
            message_id = at_alice.client.post(conv, "hi", to=bob.user)
            await at_bob.until(lambda at: at.bodies(conv) == ["hi"])
            await at_alice.until(lambda at: State.DELIVERED in at.states(message_id))
        await at_bob.client.send_to(alice.user, "queued")
        async with listening(replace(alice, ports={"mqtt": port})) as at_alice:
            await at_alice.until(lambda at: at.bodies(conv)[-1:] == ["queued"])
