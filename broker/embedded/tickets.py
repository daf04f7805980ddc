"""Counting what still has to happen before something may be answered."""

from collections.abc import Callable
from typing import Any

from mqtt5 import PubAckReasonCode


class Ticket:
    """Calls `then` once, when everything that was held on it is released. It begins with one hold, its maker's own."""

    __slots__ = ("_then", "holds")

    def __init__(self, then: Callable[[], None]) -> None:
        self.holds = 1
        self._then = then

    def hold(self) -> None:
        """Add one thing to wait for."""
        self.holds += 1

    def release(self) -> None:
        """One of them has happened."""
        self.holds -= 1
        if not self.holds:
            self._then()


class Answer(Ticket):
    """The PUBACK or PUBREC that a publish will have, and the connection that waits for it (None: it has ended). `code`
    is what version 5 is told beside "success"."""

    __slots__ = ("code", "connection", "packet_id", "qos")

    def __init__(self, connection: Any, packet_id: int, qos: int) -> None:
        super().__init__(self._tell)
        self.connection = connection
        self.packet_id = packet_id
        self.qos = qos
        self.code: PubAckReasonCode | None = None

    @property
    def is_ready(self) -> bool:
        """Tell whether nothing is waited for any more."""
        return not self.holds

    def _tell(self) -> None:
        if self.connection is not None:
            self.connection.answer()
