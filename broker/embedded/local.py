"""The core's end of an in-process link: an outlet without bytes."""

from typing import Final

from broker.embedded.effects import Cut, Effect, Hand
from broker.embedded.messages import Delivery, Message
from broker.embedded.sessions import Queued, Session
from tidings.protocol.link import Handle, Inbound

WINDOW: Final = 8_192
"""Messages that a link of ours may have unacknowledged, in process or over a socket."""


class Local:
    """A link of ours and what is gathered for it in this turn."""

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self.window = WINDOW
        self.closed = False
        self._inbox: list[Inbound] = []

    @property
    def is_ready(self) -> bool:
        """It always takes more: the window bounds it."""
        return not self.closed

    def send(self, queued: Queued, now: int, *, again: bool) -> bool:
        """Gather a message."""
        message = queued.message
        handle = Handle(self.number, queued.packet_id)
        self._inbox.append(Inbound(message.topic, message.payload, queued.way.qos, handle))
        return True

    def send_plain(self, message: Message, way: Delivery, now: int) -> bool:
        """Gather a QoS 0 message, or drop it when as many wait as may."""
        if len(self._inbox) >= self.window:
            return False
        self._inbox.append(Inbound(message.topic, message.payload, 0, Handle(self.number, 0)))
        return True

    def release(self, packet_id: int) -> None:
        """Nothing of QoS 2 goes over a link: it subscribes with QoS 1."""

    def take(self, effects: list[Effect]) -> None:
        """Hand over what was gathered."""
        if self._inbox and not self.closed:
            inbox, self._inbox = self._inbox, []
            effects.append(Hand(self.number, inbox))
        if self.closed:
            effects.append(Cut(self.number))
