"""The client's state machine: no I/O, no clock, no randomness of its own.

Rules: times (ms), ids and jitter are arguments; every input returns the effects that its shell carries out, in order;
no input raises, whatever comes from the network. `tidings.aio` is a shell on asyncio.
"""

from tidings.session.effects import Deliver, Effect, Moved, Notice, Publish, State, Status, Subscribe
from tidings.session.log import Position
from tidings.session.outbox import MemoryOutbox, Outbox, Unsent
from tidings.session.session import Session

__all__ = [
    "Deliver",
    "Effect",
    "MemoryOutbox",
    "Moved",
    "Notice",
    "Outbox",
    "Position",
    "Publish",
    "Session",
    "State",
    "Status",
    "Subscribe",
    "Unsent",
]
