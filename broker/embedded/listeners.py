"""Sockets: TCP and TLS. What comes goes to the core; what the core wants written is written.

Rules
- A protocol knows the wire and the connection's number, nothing of MQTT.
- The transport's buffer tells the core when it is too full and when it has room; the core decides what then.
- A connection that was closed has a moment to take what is left, and is cut then.
"""

import asyncio
from typing import Final, Protocol, cast

_LINGER: Final = 2.0
"""Seconds that a closed connection may take for what is still to be sent."""


class Ears(Protocol):
    """What a socket tells: the server's end of it."""

    @property
    def write_buffer(self) -> int:
        """Bytes that a transport may hold before it is congested."""
        ...

    def opened(self, wire: "Wire") -> int:
        """A connection has come; give its number."""
        ...

    def received(self, number: int, data: bytes) -> None:
        """Bytes have come."""
        ...

    def congested(self, number: int, on: bool) -> None:
        """The write buffer is full, or has room again."""
        ...

    def closed(self, number: int) -> None:
        """The connection has ended."""
        ...


class Wire(Protocol):
    """What the server does with a connection."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def reading(self, on: bool) -> None:
        """Go on reading, or stop."""
        ...

    def close(self) -> None:
        """Send what is left, and close."""
        ...


class TcpProtocol(asyncio.Protocol):
    """A connection over TCP or TLS."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._ears.write_buffer)
        self._number = self._ears.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what has come."""
        if not self._closing:
            self.feed(data)

    def feed(self, data: bytes) -> None:
        """Pass bytes of MQTT on."""
        self._ears.received(self._number, data)

    def pause_writing(self) -> None:
        """Pass on that the buffer is full."""
        self._ears.congested(self._number, True)

    def resume_writing(self) -> None:
        """Pass on that the buffer has room."""
        self._ears.congested(self._number, False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that it has ended."""
        self._ears.closed(self._number)

    def write(self, data: bytes) -> None:
        """Send bytes of MQTT."""
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._transport is not None and not self._closing:
            self._transport.write(data)

    def reading(self, on: bool) -> None:
        """Go on reading, or stop."""
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def close(self) -> None:
        """Send what is left, and close."""
        transport = self._transport
        if transport is None or self._closing:
            return
        self._closing = True
        transport.close()
        asyncio.get_running_loop().call_later(_LINGER, transport.abort)
