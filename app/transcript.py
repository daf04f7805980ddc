"""The system uses itself through its own public doors, and says what happens.

Rules: each line is printed after the fact, with what was measured; a step that does not happen within 10 s is `Failed`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import httpx

from app.cast import ALICE, BOB, log_in
from tidings.aio import Client, Event
from tidings.profile import Profile, ProfileError
from tidings.protocol import ids
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import ConvId
from tidings.session import Deliver, Moved

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that each step may take."""


class Failed(Exception):
    """A step of the transcript did not happen; the text is one line."""


class Transcript:
    """One performance. `say` gets each line; `server` is the API's base URL, `data` the server's folder."""

    def __init__(self, server: str, data: Path, say: Callable[[str], None]) -> None:
        self._server, self._data, self._say = server, data, say

    async def play(self) -> None:
        """Play it. Raises `Failed`."""
        alice = await self._step("log Alice in", log_in(self._server, self._data, ALICE, "alice"))
        bob = await self._step("log Bob in", log_in(self._server, self._data, BOB, "bob"))
        self._say(
            f"Alice  registered {ALICE.phone}, read the code in her SMS: user {alice.user}, device {alice.device}"
        )
        self._say(f"Bob    registered {BOB.phone}: user {bob.user}, device {bob.device}")
        async with self._connected(alice) as at_alice:
            seq = await self._to_someone_offline(at_alice, bob)
            async with self._connected(bob) as at_bob:
                await self._arrives(at_alice, at_bob, alice, bob, seq)
                await self._in_a_group(at_alice, at_bob, alice, bob)
        await self._history(alice, bob, seq)

    async def _to_someone_offline(self, at_alice: "Seat", bob: Profile) -> int:
        begun = time.perf_counter()
        seq = await self._step("store Alice's message", at_alice.client.send_to(bob.user, "Hello Bob, are you there?"))
        self._say(f"Alice  writes to Bob, who is offline:  ✓ sent: stored as number {seq} in {_ms(begun)}")
        return seq

    async def _arrives(self, at_alice: "Seat", at_bob: "Seat", alice: Profile, bob: Profile, seq: int) -> None:
        conv = ids.direct_conversation(alice.user, bob.user)
        begun = time.perf_counter()
        got = await self._step("bring Bob the message", at_bob.until(lambda event: _is_entry(event, conv, seq)))
        assert isinstance(got, Deliver)
        self._say(f"Bob    connects and receives number {seq}: {got.entry.body!r} ({_ms(begun)})")
        await self._step(
            "tell Alice it was delivered", at_alice.until(lambda event: _moved(event, conv, "delivered", seq))
        )
        self._say("Alice  sees ✓✓ delivered")
        begun = time.perf_counter()
        at_bob.client.mark_read(conv, seq)
        await self._step("tell Alice it was read", at_alice.until(lambda event: _moved(event, conv, "read", seq)))
        self._say(f"Alice  sees ✓✓ read ({_ms(begun)} after Bob looked: ticks are merged, one notice per 3 s)")

    async def _in_a_group(self, at_alice: "Seat", at_bob: "Seat", alice: Profile, bob: Profile) -> None:
        group = await self._step("create the group", self._create_group(alice, bob))
        self._say("Alice  makes the group 'Friends': Bob is in it")
        begun = time.perf_counter()
        seq = await self._step("store Bob's message", at_bob.client.send(group, "Lunch at noon?"))
        await self._step("bring Alice Bob's message", at_alice.until(lambda event: _is_entry(event, group, seq)))
        self._say(f"Bob    writes to the group, Alice receives number {seq} ({_ms(begun)} from Bob to Alice)")

    async def _create_group(self, alice: Profile, bob: Profile) -> ConvId:
        async with httpx.AsyncClient(base_url=self._server, headers=_bearer(alice)) as http:
            answer = await http.post(
                "/api/groups", json={"name": "Friends", "members": [bob.user]}, headers={"Idempotency-Key": "friends"}
            )
            if answer.is_error:
                raise Failed(f"the group was refused: {answer.text[:200]}")
            return ConvId(answer.json()["conv"])

    async def _history(self, alice: Profile, bob: Profile, seq: int) -> None:
        conv = ids.direct_conversation(alice.user, bob.user)
        async with httpx.AsyncClient(base_url=self._server, headers=_bearer(bob)) as http:
            page = (await http.get(f"/api/messages/{conv}")).json()
            info = (await http.get(f"/api/messages/{conv}/{seq}/info", headers=_bearer(alice))).json()
        numbers = [entry["seq"] for entry in page["messages"]]
        if numbers != list(range(numbers[0], page["head"] + 1)):
            raise Failed(f"the history has holes: {numbers}")
        told = "read by Bob" if info["members"] else "not told"
        self._say(f"HTTP   history of the two: numbers {page['first']}–{page['head']} without a hole; {seq} {told}")

    @asynccontextmanager
    async def _connected(self, who: Profile) -> "AsyncIterator[Seat]":
        async with Client(who) as client:
            await self._step("connect", client.connected.wait())
            seat = Seat(client)
            try:
                yield seat
            finally:
                seat.leave()

    async def _step(self, what: str, doing: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                return await doing
        except TimeoutError:
            raise Failed(f"it took more than {PATIENCE:g} s to {what}") from None
        except (Refusal, LookupError, httpx.HTTPError, ProfileError) as error:
            raise Failed(f"could not {what}: {error}") from None


class Seat:
    """Somebody at a connected client: keeps what has happened there, so that one can wait for it afterwards."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._seen: list[Event] = []
        self._news = asyncio.Condition()
        self._watching = asyncio.create_task(self._watch())

    async def until(self, fits: Callable[[Event], bool]) -> Event:
        """Wait for the first event that fits, also among those already seen. Raises what ended the client."""
        async with self._news:
            while True:
                for event in self._seen:
                    if fits(event):
                        return event
                if self._watching.done():
                    self._watching.result()
                await self._news.wait()

    def leave(self) -> None:
        """Watch no longer."""
        self._watching.cancel()

    async def _watch(self) -> None:
        try:
            async for event in self.client.events():
                async with self._news:
                    self._seen.append(event)
                    self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()


def _is_entry(event: Event, conv: ConvId, seq: int) -> bool:
    return isinstance(event, Deliver) and (event.entry.conv, event.entry.seq) == (conv, seq)


def _moved(event: Event, conv: ConvId, kind: str, seq: int) -> bool:
    return isinstance(event, Moved) and (event.conv, event.kind) == (conv, kind) and event.to >= seq


def _bearer(who: Profile) -> dict[str, str]:
    return {"Authorization": f"Bearer {who.token}"}


def _ms(begun: float) -> str:
    return f"{(time.perf_counter() - begun) * 1000:.0f} ms"
