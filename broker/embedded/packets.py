"""What both MQTT codecs share: their shape, and what they raise.

Rules
- The classes of `mqtt5` are the one packet model; a codec turns bytes into them and back. The modules `codec311` and
  `codec5` are the two codecs.
- Reading any bytes gives a packet and its size, None (incomplete), or one of the two errors. Either error ends the
  connection it came over.
"""

from typing import Protocol

from mqtt5 import Packet


class MalformedPacket(Exception):
    """These bytes are not a packet."""


class ProtocolViolation(Exception):
    """This is a packet, but nobody may send it, or not now."""


class Codec(Protocol):
    """One version of MQTT. Modules are codecs."""

    def read(self, data: memoryview, at: int = 0) -> tuple[Packet, int] | None:
        """Read the packet that begins at `at`, and its size in bytes; None while it is incomplete. Raises
        `MalformedPacket` or `ProtocolViolation`."""
        ...

    def write(self, packet: Packet) -> bytes:
        """Write a packet; no bytes where this version has none for it."""
        ...
