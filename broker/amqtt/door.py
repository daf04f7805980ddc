"""What stands before amqtt: a connection reaches it only when our gate has let its CONNECT pass.

Rules
- amqtt changes sessions as it reads a CONNECT, before it asks who is there. So CONNECT is read here, by our own codec
  and within a time; token, binding and will are checked, and only then amqtt sees the very same bytes.
- After that the reader that amqtt is given ends the connection where amqtt itself would wait or swallow for ever: at
  a packet above the limit, and after one and a half keepalives of silence [MQTT 3.1.1, 3.1.2.10].
"""

import asyncio
from typing import Final

import mqtt5
from amqtt.adapters import ReaderAdapter, WriterAdapter
from mqtt5 import ConnAckReasonCode

from acl.decisions import Gate, Principal
from broker.embedded import codec311
from broker.embedded.packets import MalformedPacket, ProtocolViolation
from broker.port import Limits
from tidings.protocol.errors import Code, Refusal

_REASONS: Final = {Code.UNAVAILABLE: ConnAckReasonCode.SERVER_UNAVAILABLE}
_LONGEST_HEADER: Final = 5


class Turned(Exception):
    """A connection that is not let in, and the answer that it gets, which may be none."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(answer)
        self.answer = answer


async def knock(reader: ReaderAdapter, limits: Limits) -> tuple[mqtt5.ConnectPacket, bytes]:
    """Read a CONNECT of MQTT 3.1.1, and its bytes. Raises `Turned`."""
    try:
        async with asyncio.timeout(limits.connect_timeout):
            raw = await _packet(reader, limits.packet_bytes)
        view = memoryview(raw)
        if (level := codec311.protocol_level(view)) != codec311.LEVEL:
            raise Turned(_wrong_version(level))
        found = codec311.read(view)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
        raise Turned from error
    except (MalformedPacket, ProtocolViolation) as error:
        raise Turned from error
    if found is None or not isinstance(found[0], mqtt5.ConnectPacket):
        raise Turned
    return found[0], raw


def admit(gate: Gate, connect: mqtt5.ConnectPacket, now: int) -> Principal:
    """Ask the gate about a CONNECT and its will. Raises `Turned` with the refusal."""
    try:
        principal = gate.authenticate(connect.client_id, connect.username, connect.password, now)
    except Refusal as refusal:
        raise refused(_REASONS.get(refusal.code, ConnAckReasonCode.NOT_AUTHORIZED)) from refusal
    will = connect.will
    if will is not None and not gate.publish(principal, will.topic, retain=will.retain, qos=int(will.qos)).allowed:
        raise refused(ConnAckReasonCode.NOT_AUTHORIZED)
    return principal


def refused(reason: ConnAckReasonCode) -> Turned:
    """Make the refusal of a CONNECT."""
    return Turned(codec311.write(mqtt5.ConnAckPacket(reason_code=reason)))


def _wrong_version(level: int | None) -> bytes:
    answer = mqtt5.ConnAckPacket(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    return answer.write() if level == 5 else codec311.write(answer)


async def _packet(reader: ReaderAdapter, most: int) -> bytes:
    raw = b""
    while (head := codec311.header(memoryview(raw))) is None:
        raw += await _exactly(reader, 1)
        codec311.protocol_level(memoryview(raw[:1]))
    if head.length > most:
        raise Turned
    return raw + await _exactly(reader, head.length)


async def _exactly(reader: ReaderAdapter, size: int) -> bytes:
    data: bytes = await reader.read(size) if size else b""
    if len(data) < size:
        raise asyncio.IncompleteReadError(data, size)
    return data


class Watched(ReaderAdapter):  # type: ignore[misc]
    """A reader that begins with bytes which were read before, and ends the connection at silence and at oversize."""

    def __init__(
        self, reader: ReaderAdapter, writer: WriterAdapter, first: bytes, *, keep_alive: int, most: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._first = first
        self._patience = keep_alive * 1.5
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()

    async def read(self, n: int = -1) -> bytes:
        """Read `n` bytes, or none at the end. amqtt gives up a read at each keepalive and begins another, so what
        counts is when something was heard last."""
        if self._first and n > 0:
            data, self._first = self._first[:n], self._first[n:]
            return data
        if n > self._most:
            return await self._end()
        try:
            async with asyncio.timeout_at(self._heard + self._patience if self._patience else None):
                data = bytes(await self._reader.read(n))
        except TimeoutError:
            return await self._end()
        self._heard = self._loop.time()
        return data

    async def _end(self) -> bytes:
        await self._writer.close()
        return b""

    def feed_eof(self) -> None:
        """Pass it on."""
        self._reader.feed_eof()
