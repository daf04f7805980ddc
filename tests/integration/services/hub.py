"""The least broker there can be: what is published goes at once to every link whose filters match."""

import asyncio
from collections.abc import Iterable, Sequence

from acl.filters import matches
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive


class Hub:
    """Joins links. `heard` is everything that was published, in order."""

    def __init__(self) -> None:
        self.heard: list[Outbound] = []
        self.links: list[HubLink] = []

    def link(self) -> "HubLink":
        """Make a link to this hub."""
        return HubLink(self)

    def spread(self, message: Outbound) -> None:
        """Hand a message to whoever subscribed it."""
        self.heard.append(message)
        for link in self.links:
            link.offer(message)


class HubLink:
    """A `Link` that loses nothing while it is connected."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._filters: tuple[str, ...] = ()
        self._receive: Receive | None = None
        self._packets = 0

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """Subscribe."""
        self._filters, self._receive = tuple(filters), receive
        self._hub.links.append(self)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Spread all, at the loop's next turn."""
        if self._receive is None:
            raise LinkLost
        for message in messages:
            asyncio.get_running_loop().call_soon(self._hub.spread, message)
        await asyncio.sleep(0)

    def offer(self, message: Outbound) -> None:
        """Take a message if it is subscribed."""
        if self._receive is not None and any(matches(one, message.topic) for one in self._filters):
            self._packets += 1
            self._receive([Inbound(message.topic, message.payload, message.qos, Handle(1, self._packets))])

    def ack(self, handles: Iterable[Handle]) -> None:
        """Nothing is sent again, so nothing is to be acknowledged."""

    async def close(self) -> None:
        """Leave."""
        self._receive = None
        if self in self._hub.links:
            self._hub.links.remove(self)
