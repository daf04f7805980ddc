"""The in-process link: what a bridge or a service has of the embedded broker, without socket, bytes or token."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive

if TYPE_CHECKING:
    from broker.embedded.server import EmbeddedBroker


class InProcessLink:
    """A `tidings.protocol.link.Link` to a started broker. A session that is kept stays over `close` and restarts, as a
    bridge's must; that of a service, which has a new name at every start, ends with the link."""

    def __init__(self, broker: "EmbeddedBroker", client_id: str, *, keep: bool | None = None) -> None:
        self.client_id = client_id
        self._broker = broker
        self._keep = client_id.startswith("bridge-") if keep is None else keep
        self._number = 0
        self._receive: Receive | None = None
        self._lost: Lost | None = None
        self._publishing: set[asyncio.Future[None]] = set()

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """Connect, cutting any predecessor, subscribe, and hand over what comes. Raises `LinkLost` if the broker is not
        running."""
        self._receive, self._lost = receive, lost
        self._number = self._broker.link_opened(self, filters, keep=self._keep)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish all, in order; return when every message for a kept session is durable or acknowledged. Raises
        `LinkLost`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then() -> None:
            if not done.done():
                done.set_result(None)

        if not self._broker.link_publish(self, self._number, messages, then):
            raise LinkLost(self.client_id)
        if done.done():
            return
        self._publishing.add(done)
        try:
            await done
        finally:
            self._publishing.discard(done)

    def ack(self, handles: Iterable[Handle]) -> None:
        """Acknowledge; handles of closed connections do nothing."""
        self._broker.link_acknowledge(self, handles)

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        self._receive = self._lost = None
        self._broker.link_closed(self, self._number)
        self._fail()

    def hand(self, messages: list[Inbound]) -> None:
        """Take messages; the broker's."""
        if self._receive is not None:
            self._receive(messages)

    def cut(self) -> None:
        """Hear that it is cut; the broker's."""
        lost, self._lost, self._receive = self._lost, None, None
        self._fail()
        if lost is not None:
            lost()

    def _fail(self) -> None:
        for future in self._publishing:
            if not future.done():
                future.set_exception(LinkLost(self.client_id))
