"""One client of the bench: MQTT 5 over one TCP connection, as cheap as Python gets, so that it measures others.

Rules
- One write a wake-up: acknowledgements and new messages leave together.
- At most `window` messages are out without their own copy back, and never more without a PUBACK than the server's
  receive maximum allows. What is due beyond that waits, and its clock runs.
- A message's id is `{run}-{client}-{number}` in hex: who sees a copy knows whose it is without a table.
- All times are `time.perf_counter()` seconds of this one process.
"""

import asyncio
from array import array
from collections import deque
from time import perf_counter
from typing import Final, cast

import mqtt5
from msgspec import Struct, json

from bench.job import Seat

KEEP_ALIVE: Final = 600
SESSION_SECONDS: Final = 3_600
RECEIVE_MAX: Final = 1_000
FAILURE: Final = 128
"""Reason codes from here on are failures (MQTT 5, 2.4)."""
_ACKED: Final = 1
_DELIVERED: Final = 2
WHOLE: Final = _ACKED | _DELIVERED
"""The state of a message whose two copies have both arrived."""


class Seen(Struct):
    """What the bench reads of a copy, whatever else it holds."""

    id: str = ""
    text: str = ""
    code: str = ""


_read_seen: Final = json.Decoder(Seen).decode


class Sent:
    """The messages of one client, by number: when each was due, and what came of it."""

    def __init__(self) -> None:
        self.due = array("d")
        self.left = array("d")
        self.acknowledged = array("d")
        self.delivered = array("d")
        self.state = bytearray()
        self.repeated = 0

    def add(self, due: float, left: float) -> int:
        """Note a message that leaves now; returns its number."""
        self.due.append(due)
        self.left.append(left)
        self.acknowledged.append(0.0)
        self.delivered.append(0.0)
        self.state.append(0)
        return len(self.due) - 1

    def mark(self, number: int, now: float, *, own: bool) -> bool:
        """Note that a copy arrived; false when it is a repeat."""
        bit = _ACKED if own else _DELIVERED
        if self.state[number] & bit:
            self.repeated += 1
            return False
        self.state[number] |= bit
        (self.acknowledged if own else self.delivered)[number] = now
        return True


class Client(asyncio.Protocol):
    """One connected client. `peers` are all clients of the run, in order of their numbers; partners are 2k, 2k + 1."""

    def __init__(self, run: str, number: int, seat: Seat, body: str, peers: "list[Client]") -> None:
        self.sent = Sent()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.window = 0
        self.closed_loop = False
        self.waiting: deque[float] = deque()
        self.back = 0
        self.refused = 0
        self.refusal = ""
        self._run, self._number, self._seat, self._peers = run, number, seat, peers
        self._before = f'{{"id":"{run}-{number:x}-'
        self._after = f'","body":"{body}","to":"{seat.to}"}}'
        self._topic = seat.topic
        self._unanswered = 0
        self._receive_max = 0
        self._packet = 0
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect as the seat says; the session is persistent, as a real device's is, but begins empty."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit it
        seat = self._seat
        connect = mqtt5.ConnectPacket(
            seat.client_id,
            username=seat.username or None,
            password=seat.password.encode() or None,
            clean_start=True,
            session_expiry_interval=SESSION_SECONDS,
            keep_alive=KEEP_ALIVE,
            receive_max=RECEIVE_MAX,
        )
        self._transport.write(connect.write())

    def connection_lost(self, error: Exception | None) -> None:
        """A lost connection ends the run: what it would measure afterwards is something else."""
        self._transport = None
        self._fail(f"connection lost: {error or 'closed by the broker'}")

    def data_received(self, data: bytes) -> None:
        """Read all whole packets, answer them, and send what they made room for."""
        now = perf_counter()
        view = memoryview(self._rest + data if self._rest else data)
        at, size = 0, len(view)
        while at < size:
            try:
                packet, length = mqtt5.read(view[at:])
            except IndexError:
                break
            at += length
            self._take(packet, now)
        self._rest = bytes(view[at:])
        self.flush(now)

    def _take(self, packet: mqtt5.Packet, now: float) -> None:
        match packet:
            case mqtt5.PublishPacket():
                if packet.packet_id is not None:
                    self._out.append(mqtt5.PubAckPacket(packet.packet_id).write())
                self._copy(packet.topic, packet.payload, now)
            case mqtt5.PubAckPacket():
                self._unanswered -= 1
                if int(packet.reason_code) >= FAILURE:
                    self._refuse(f"PUBACK {packet.reason_code.name}")
            case mqtt5.ConnAckPacket():
                self._connected(packet)
            case mqtt5.SubAckPacket():
                if any(int(code) >= FAILURE for code in packet.reason_codes):
                    self._fail(f"subscription refused: {packet.reason_codes}")
                elif not self.ready.done():
                    self.ready.set_result(None)
            case mqtt5.DisconnectPacket():
                self._fail(f"disconnected: {packet.reason_code.name}")
            case _:
                pass

    def _connected(self, packet: mqtt5.ConnAckPacket) -> None:
        if packet.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
            self._fail(f"connection refused: {packet.reason_code.name}")
            return
        self._receive_max = packet.receive_max
        filters = [mqtt5.TopicFilter(name, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for name in self._seat.filters]
        self._out.append(mqtt5.SubscribePacket(1, filters).write())

    def _fail(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
        elif not self.refusal:
            self._refuse(why)

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.refusal = self.refusal or why

    # Messages.

    def _copy(self, topic: str, payload: bytes, now: float) -> None:
        if not topic.endswith("/msg"):
            if topic.endswith("/error"):
                seen = _read_seen(payload)
                self._refuse(f"{seen.code}: {seen.text}")
                self._came_back(now)
            return
        run, client, number = _read_seen(payload).id.split("-")
        if run != self._run:
            return
        own = int(client, 16) == self._number
        peer = self if own else self._peers[int(client, 16)]
        if peer.sent.mark(int(number, 16), now, own=own) and own:
            self._came_back(now)

    def _came_back(self, now: float) -> None:
        self.back += 1
        if self.closed_loop:
            self.waiting.append(now)

    def flush(self, now: float) -> None:
        """Send what is due and has room, in one write."""
        room = min(self.window - (len(self.sent.due) - self.back), self._receive_max - self._unanswered)
        while self.waiting and room > 0:
            room -= 1
            self._out.append(self._publish(self.waiting.popleft(), now))
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _publish(self, due: float, now: float) -> bytes:
        number = self.sent.add(due, now)
        self._unanswered += 1
        self._packet = self._packet % 65_000 + 1
        payload = f"{self._before}{number:x}{self._after}".encode()
        return mqtt5.PublishPacket(self._topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._packet).write()

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.write(mqtt5.DisconnectPacket().write())
            self._transport.close()
