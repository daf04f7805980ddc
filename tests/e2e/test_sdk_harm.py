"""SDK clients while the server, its broker's memory or their own process is harmed. Each test has its own server."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.e2e.people import register, whole_history
from tests.e2e.sdk import Listener, Wire, listening, new_group, new_profile, profile_of
from tests.processes import TidingsUp
from tidings import profile
from tidings.cache import Cache
from tidings.profile import Profile
from tidings.protocol import ids
from tidings.protocol.ids import ConvId
from tidings.session import State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

POSTING = Path(__file__).with_name("posting.py")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[TidingsUp]:
    running = TidingsUp(tmp_path / "data", limits_messages_a_minute="0").start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


async def forget_queues(server: TidingsUp) -> None:
    """Stop the server, lose all that its broker knew, and start it again."""
    await asyncio.to_thread(server.kill)
    lost = list(server.data.glob("broker.db*"))
    assert lost
    for file in lost:
        file.unlink()
    await asyncio.to_thread(server.start)


def check_progress(states: list[State]) -> None:
    """An own message goes from pending over sending to sent, back while it is unanswered, and never back from there."""
    order = list(State)
    assert states[0] is State.PENDING
    assert states.count(State.SENT) == 1
    assert State.FAILED not in states
    known = states[states.index(State.SENT) :]
    assert known == sorted(set(known), key=order.index)
    assert set(states[: states.index(State.SENT)]) <= {State.PENDING, State.SENDING}


async def test_what_the_broker_forgot_is_repaired_also_a_lost_last_message_and_lost_ticks(own: TidingsUp) -> None:
    alice, bob = await new_profile(own, "Alice"), await new_profile(own, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    async with Wire(alice.ports["mqtt"]) as wire, listening(replace(alice, ports={"mqtt": wire.port})) as at_alice:
        async with listening(bob) as at_bob:
            first = at_alice.client.post(conv, "first", to=bob.user)
            await at_bob.until(lambda at: at.bodies(conv) == ["first"])
            await at_alice.until(lambda at: State.DELIVERED in at.states(first))
            wire.cut()
            at_bob.client.mark_read(conv, at_bob.entries(conv)[-1].seq)  # the tick is queued for Alice, and lost
            await at_bob.client.send_to(alice.user, "middle")
            await at_bob.client.send_to(alice.user, "last")
            await at_bob.client.drained()
        await forget_queues(own)
        wire.mend()
        await at_alice.until(lambda at: at.bodies(conv) == ["first", "middle", "last"])
        await at_alice.until(lambda at: State.READ in at.states(first))
        await at_alice.until(lambda at: at.client.session.settled)
        assert at_alice.bodies(conv) == ["first", "middle", "last"]
        check_progress(at_alice.states(first))


async def test_a_device_that_was_off_finds_what_the_broker_forgot(own: TidingsUp) -> None:
    alice, bob, carol = [await new_profile(own, name) for name in ("Alice", "Bob", "Carol")]
    group = await new_group(own, alice, bob, carol)
    conv = ids.direct_conversation(alice.user, bob.user)
    async with listening(alice) as at_alice:
        async with listening(bob) as at_bob:
            await at_alice.client.send(group, "g0")
            await at_alice.client.send_to(bob.user, "d0")
            await at_bob.until(lambda at: at.bodies(conv) == ["d0"] and at.bodies(group) == ["g0"])
            positions = at_bob.client.session.positions()
        await at_alice.client.send_to(bob.user, "the last one")
        for number in range(1, 8):
            await at_alice.client.send(group, f"g{number}")
    async with listening(carol) as at_carol:
        await at_carol.until(lambda at: at.bodies(group)[-1:] == ["g7"])
        at_carol.client.mark_read(group, at_carol.entries(group)[-1].seq)
        await at_carol.client.drained()
        read = at_carol.entries(group)[-1].seq
    await forget_queues(own)
    async with listening(bob, positions=positions) as at_bob:
        await at_bob.until(lambda at: at.bodies(conv) == ["the last one"])
        await at_bob.until(lambda at: at.bodies(group) == [f"g{number}" for number in range(1, 8)])
        await at_bob.until(lambda at: at.has_moved(group, carol.user, "read", read))


async def test_kill_9_of_the_server_in_mid_conversation_loses_and_doubles_nothing(own: TidingsUp) -> None:
    alice, bob = await new_profile(own, "Alice"), await new_profile(own, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    async with listening(alice) as at_alice, listening(bob) as at_bob:
        posted: dict[str, Listener] = {}
        for round_ in range(4):
            for number in range(15):
                posted[at_alice.client.post(conv, f"a{round_}-{number}", to=bob.user)] = at_alice
                posted[at_bob.client.post(conv, f"b{round_}-{number}", to=alice.user)] = at_bob
            # A client that was turned away several times waits longer each time: a slow restart takes its minute.
            await at_alice.until(lambda at, least=30 * round_ + 7: len(at.bodies(conv)) >= least, within=60)
            if round_ < 3:
                await asyncio.to_thread(own.kill)
                await asyncio.to_thread(own.start)
        for at in (at_alice, at_bob):
            await at.until(lambda at: len(at.bodies(conv)) >= 120, within=60)
            await at.until(lambda at: at.client.session.settled and not at.client.session.unsent, within=60)
            await at.until(lambda at: all(State.SENT in at.states(one) for one, by in posted.items() if by is at))
        assert at_alice.entries(conv) == at_bob.entries(conv)
        entries = at_bob.entries(conv)
        assert [entry.seq for entry in entries] == list(range(1, 122))
        assert sorted(entry.id for entry in entries[1:]) == sorted(posted)
        for message_id, by in posted.items():
            check_progress(by.states(message_id))


async def test_a_server_that_is_stopped_in_order_is_found_again(own: TidingsUp) -> None:
    alice, bob = await new_profile(own, "Alice"), await new_profile(own, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    async with listening(alice) as at_alice, listening(bob) as at_bob:
        await at_alice.client.send_to(bob.user, "before")
        await asyncio.to_thread(own.stop)
        message_id = at_alice.client.post(conv, "meanwhile", to=bob.user)
        await asyncio.to_thread(own.start)
        await at_bob.until(lambda at: at.bodies(conv) == ["before", "meanwhile"])
        await at_alice.until(lambda at: State.SENT in at.states(message_id))
        check_progress([state for state in at_alice.states(message_id) if state is not State.DELIVERED])


# A client's own process is killed.


class Posting:
    """A process of its own that connects, posts one text when told to, and then only waits."""

    def __init__(self, home: Path, who: Profile, conv: ConvId, to: str) -> None:
        profile.save("alice", who, home)
        arguments = [sys.executable, POSTING, home, "alice", conv, to]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, word: str) -> None:
        """Wait for a line of its output."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

    def post(self) -> None:
        """Let it post."""
        assert self._process.stdin is not None
        self._process.stdin.write("post\n")
        self._process.stdin.flush()
        self.says("posted")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.mark.parametrize("heard", [False, True], ids=["before it was heard", "before it was told so"])
async def test_what_a_killed_process_had_posted_is_said_once_at_its_next_start(
    own: TidingsUp, tmp_path: Path, heard: bool
) -> None:
    person, bob = await register(own, "Alice"), await new_profile(own, "Bob")
    alice = profile_of(own, person)
    conv = ids.direct_conversation(alice.user, bob.user)
    async with Wire(alice.ports["mqtt"]) as wire, listening(bob) as at_bob:
        posting = Posting(tmp_path / "home", replace(alice, ports={"mqtt": wire.port}), conv, bob.user)
        try:
            await asyncio.to_thread(posting.says, "connected")
            wire.muted = heard
            wire.whole = heard
            if not heard:
                wire.cut()
            await asyncio.to_thread(posting.post)
            if heard:
                await at_bob.until(lambda at: at.bodies(conv) == ["outlives me"])
        finally:
            posting.kill()
        wire.mend()
        with Cache(tmp_path / "home" / "alice.db") as cache:
            (kept,) = cache.entries()
            async with listening(alice, outbox=cache) as at_alice:
                await at_alice.until(lambda at: State.SENT in at.states(kept.message.id))
                await at_alice.client.send_to(bob.user, "a later one")
            assert not list(cache.entries())
        await at_bob.until(lambda at: at.bodies(conv)[-1:] == ["a later one"])
        assert at_bob.bodies(conv) == ["outlives me", "a later one"]
    stored = await whole_history(own, person, conv)
    assert [entry["id"] for entry in stored if entry.get("body") == "outlives me"] == [kept.message.id]
