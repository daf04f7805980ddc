"""What the core wants done outside; the shell does it. Connections and links are named by their numbers."""

from msgspec import Struct

from broker.embedded.records import Operation
from tidings.protocol.link import Inbound


class Write(Struct, frozen=True):
    """Send bytes."""

    number: int
    data: bytes


class Close(Struct, frozen=True):
    """Close a connection after what was written; the core has forgotten it already."""

    number: int


class Reading(Struct, frozen=True):
    """Go on reading from a connection, or stop: its sender has to wait."""

    number: int
    on: bool


class Hand(Struct, frozen=True):
    """Give messages to an in-process link."""

    number: int
    messages: list[Inbound]


class Cut(Struct, frozen=True):
    """Tell an in-process link that it is cut."""

    number: int


class Persist(Struct, frozen=True):
    """Make a batch durable, then tell the core."""

    operations: tuple[Operation, ...]


Effect = Write | Close | Reading | Hand | Cut | Persist
