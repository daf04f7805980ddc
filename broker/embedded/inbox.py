"""From pieces of a byte stream to packets, of the version that the first packet asks for.

Rules
- A packet longer than the limit is refused as soon as its header is there, so nobody makes us hold more than a packet
  and what one read gave.
- Pieces are joined only when they hold a whole packet: a packet in a thousand pieces costs no more than in one.
"""

from typing import Final

import mqtt5
from mqtt5 import Packet

from broker.embedded import codec5, codec311
from broker.embedded.packets import Codec, MalformedPacket, ProtocolViolation

CODECS: Final[dict[int, Codec]] = {codec311.LEVEL: codec311, codec5.LEVEL: codec5}
_PUBACK: Final = 0x40


class TooLong(MalformedPacket):
    """A packet above the limit."""


class UnknownVersion(Exception):
    """CONNECT asks for a protocol level that is not spoken here."""


class Inbox:
    """The bytes of one connection that are not handled yet. `level` is 0 until CONNECT has told it; `most` is the size
    of the longest packet that is taken now."""

    __slots__ = ("_at", "_codec", "_need", "_pieces", "_size", "level", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._at = 0
        self._need = 2
        self._codec: Codec | None = None
        self.level = 0

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._pieces.append(data)
        self._size += len(data)

    def next(self) -> Packet | None:
        """Take the next packet; None while it is incomplete. Raises `MalformedPacket`, `ProtocolViolation`, `TooLong`
        and `UnknownVersion`."""
        if self._size - self._at < self._need:
            return None
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        data, at = self._pieces[0], self._at
        if data[at] == _PUBACK and self._codec is not None and self._size >= at + 4 and data[at + 1] == 2:
            return self._puback(data, at)
        view = memoryview(data)
        codec = self._codec or self._choose(view)
        found = codec.read(view, at) if codec is not None else None
        if found is None:
            self._wait(view)
            return None
        packet, size = found
        if size > self.most:
            raise TooLong(f"a packet of {size} bytes")
        self._step(size)
        return packet

    def _puback(self, data: bytes, at: int) -> Packet:
        """Take a plain PUBACK, the most frequent packet of all, which is the same in both versions."""
        packet_id = data[at + 2] << 8 | data[at + 3]
        if not packet_id:
            raise ProtocolViolation("packet id 0")
        self._step(4)
        return mqtt5.PubAckPacket(packet_id)

    def _step(self, size: int) -> None:
        self._at += size
        self._need = 2
        if self._at == self._size:
            self._pieces.clear()
            self._at = self._size = 0

    def _wait(self, view: memoryview) -> None:
        """Know how much is missing, and keep only what is not handled."""
        head = codec311.header(view, self._at)
        self._need = self._size - self._at + 1
        if head is not None:
            whole = head.body - self._at + head.length
            if whole > self.most:
                raise TooLong(f"a packet of {whole} bytes")
            if self._codec is not None:
                self._need = whole
        if self._at:
            self._pieces = [self._pieces[0][self._at :]]
            self._size -= self._at
            self._at = 0

    def _choose(self, view: memoryview) -> Codec | None:
        level = codec311.protocol_level(view, self._at)
        if level is None:
            return None
        if level not in CODECS:
            raise UnknownVersion(f"protocol level {level}")
        self.level = level
        self._codec = CODECS[level]
        return self._codec
