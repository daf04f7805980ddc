"""What end-to-end tests of the SDK need: profiles of registered people, a listener that remembers, a wire that cuts.

Rules: a listener is a `Client` whose events are all kept; waiting is for a condition over them, with a bound. The wire
is a TCP relay in front of a broker, so that one client can be cut off, or go unheard, while the server stays as it is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from msgspec.structs import replace

from tests.e2e.people import Person, register
from tests.processes import TidingsUp
from tidings import profile
from tidings.aio import Client, Event, now_ms
from tidings.profile import Profile
from tidings.protocol.ids import ConvId, UserId
from tidings.protocol.payloads import Message
from tidings.session import Deliver, Moved, State, Status


def profile_of(server: TidingsUp, person: Person, *, port: int = 0) -> Profile:
    """The profile of a registered device; `port` is another way to the broker."""
    answer = {
        "mqtt": person.mqtt,
        "token": person.token,
        "refreshToken": person.refresh,
        "user": {"name": person.name, "phoneNumber": person.phone},
        "expiresIn": 3_600,
    }
    found = replace(profile.from_login(server.url, answer, now_ms()), host="127.0.0.1", since=0)
    return replace(found, ports={**found.ports, "mqtt": port}) if port else found


async def new_profile(server: TidingsUp, name: str) -> Profile:
    """Register somebody; returns the device's profile."""
    return profile_of(server, await register(server, name))


async def new_group(server: TidingsUp, admin: Profile, *members: Profile) -> ConvId:
    """Create a group by HTTP; returns its conversation."""
    headers = {"Authorization": f"Bearer {admin.token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=10) as http:
        body = {"name": "Group", "members": [member.user for member in members]}
        answer = await http.post("/api/groups", json=body)
        assert answer.status_code == 201, answer.text
        return ConvId(answer.json()["conv"])


class Listener:
    """A client and everything that it told."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Take events until the client ends."""
        async for event in self.client.events():
            self.events.append(event)
            self._changed.set()

    async def until(self, condition: Callable[["Listener"], object], *, within: float = 20.0) -> None:
        """Wait for a condition over what was told; fails with what was told instead."""
        try:
            async with asyncio.timeout(within):
                while not condition(self):
                    self._changed.clear()
                    with suppress(TimeoutError):  # a condition may look at the client as well, which tells no change
                        await asyncio.wait_for(self._changed.wait(), 0.05)
        except TimeoutError:
            raise AssertionError(f"not within {within} s; told: {self.events[-20:]}") from None

    def entries(self, conv: str) -> list[Message]:
        """What was delivered of a conversation, as it came."""
        return [event.entry for event in self.events if isinstance(event, Deliver) and event.entry.conv == conv]

    def bodies(self, conv: str) -> list[str]:
        """The texts of a conversation, as they came."""
        return [entry.body for entry in self.entries(conv) if entry.kind == "text"]

    def states(self, message_id: str) -> list[State]:
        """An own message's progress."""
        return [event.state for event in self.events if isinstance(event, Status) and event.id == message_id]

    def has_moved(self, conv: str, user: UserId, kind: str, to: int) -> bool:
        """Whether a member was told to have come so far."""
        moves = (event for event in self.events if isinstance(event, Moved))
        return any((move.conv, move.user, move.kind) == (conv, user, kind) and move.to >= to for move in moves)


@asynccontextmanager
async def listening(who: Profile, **options: Any) -> AsyncIterator[Listener]:
    """A connected client with a listener on it."""
    async with Client(who, **options) as client:
        listener = Listener(client)
        running = asyncio.create_task(listener.run())
        try:
            await asyncio.wait_for(client.online(), 20)
            yield listener
        finally:
            running.cancel()
            await asyncio.wait([running])


class Wire:
    """A relay to a local port. `cut()` ends all connections and takes none until `mend()`; while `muted`, nothing
    comes back from the server."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.muted = False
        self.whole = True
        self.port = 0

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
            ways = [
                asyncio.create_task(self._relay(reader, to_server, back=False)),
                asyncio.create_task(self._relay(from_server, writer, back=True)),
            ]
            with suppress(asyncio.CancelledError):  # by `cut`
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            to_server.close()
        writer.close()
        self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if not (back and self.muted):
                    writer.write(data)

    def cut(self) -> None:
        """End all connections, and take none."""
        self.whole = False
        for task in tuple(self._tasks):
            task.cancel()

    def mend(self) -> None:
        """Take connections again, and let them be heard."""
        self.whole, self.muted = True, False

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
