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
    is what version 5 is told beside "success". `before` is called once, when nothing else is waited for, and may hold
    again.

    `is_taken`: whoever must keep the message has it, so a receipt of QoS 2 may be written down. `is_lost`: who should
    have kept it is gone, so the answer never comes and the message must come again.
    """

    __slots__ = ("before", "code", "connection", "is_lost", "is_taken", "packet_id", "qos")

    def __init__(self, connection: Any, packet_id: int, qos: int) -> None:
        super().__init__(self._tell)
        self.connection = connection
        self.packet_id = packet_id
        self.qos = qos
        self.code: PubAckReasonCode | None = None
        self.before: Callable[[], None] | None = None
        self.is_taken = False
        self.is_lost = False

    def _tell(self) -> None:
        before, self.before = self.before, None
        if before is not None:
            self.hold()
            before()
            self.release()
        elif self.connection is not None:
            self.connection.answer()
