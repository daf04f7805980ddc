"""Presence through the SDK: seen while connected, gone at the end or at the will, told to those who look."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.e2e.sdk import Listener, Wire, listening, new_profile
from tests.processes import TidingsUp
from tidings.aio import now_ms
from tidings.protocol import ids
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import PresenceNotice
from tidings.session import Notice


def seen(at: Listener, user: UserId) -> list[PresenceNotice]:
    """What was told of a user's presence."""
    notices = (event.about for event in at.events if isinstance(event, Notice))
    return [about for about in notices if isinstance(about, PresenceNotice) and about.user == user]


def stands(at: Listener, user: UserId, status: str) -> bool:
    """Whether the last thing told of a user is this status."""
    return [about.status for about in seen(at, user)][-1:] == [status]


async def test_who_looks_is_told_of_coming_being_away_and_going(server: TidingsUp) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    async with listening(alice) as at_alice:
        at_alice.client.watch([bob.user])
        await at_alice.until(lambda at: stands(at, bob.user, "offline"))
        before = now_ms()
        async with listening(bob) as at_bob:
            await at_alice.until(lambda at: stands(at, bob.user, "online"))
            at_bob.client.show("away")
            await at_alice.until(lambda at: stands(at, bob.user, "away"))
            at_bob.client.show("online")
            await at_alice.until(lambda at: stands(at, bob.user, "online"))
        await at_alice.until(lambda at: stands(at, bob.user, "offline"))
        assert seen(at_alice, bob.user)[-1].last_seen >= before


async def test_who_is_cut_off_is_offline_by_its_will_and_online_again_on_return(server: TidingsUp) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    async with Wire(bob.ports["mqtt"]) as wire, listening(alice) as at_alice:
        at_alice.client.watch([bob.user])
        async with listening(replace(bob, ports={"mqtt": wire.port})):
            await at_alice.until(lambda at: stands(at, bob.user, "online"))
            wire.cut()
            await at_alice.until(lambda at: stands(at, bob.user, "offline"))
            wire.mend()
            await at_alice.until(lambda at: stands(at, bob.user, "online"))


async def test_the_will_of_a_connection_that_was_taken_over_marks_nobody_offline(server: TidingsUp) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    async with Wire(bob.ports["mqtt"]) as wire, listening(alice) as at_alice:
        at_alice.client.watch([bob.user])
        async with listening(replace(bob, ports={"mqtt": wire.port})):
            await at_alice.until(lambda at: stands(at, bob.user, "online"))
            async with listening(bob) as at_bob:  # the same device, by another way: the first is cut, and comes back
                wire.whole = False
                await at_alice.client.send_to(bob.user, "still there?")
                await at_bob.until(lambda at: at.bodies(conv) == ["still there?"])
                await asyncio.sleep(2.5)  # longer than changes are merged: a stale will would have been told
                assert stands(at_alice, bob.user, "online")


async def test_a_sender_is_not_seen(server: TidingsUp) -> None:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    async with listening(alice) as at_alice:
        at_alice.client.watch([bob.user])
        await at_alice.until(lambda at: stands(at, bob.user, "offline"))
        async with listening(bob, listening=False) as at_bob:
            await at_bob.client.send_to(alice.user, "hi")
            await at_alice.until(lambda at: at.bodies(ids.direct_conversation(alice.user, bob.user)) == ["hi"])
        assert {about.status for about in seen(at_alice, bob.user)} == {"offline"}
        with pytest.raises(Refusal, match="at most 200"):
            at_alice.client.watch([ids.make_user_id(bytes([0, n, *range(9)])) for n in range(201)])
