"""The session on asyncio: a thin shell over aiomqtt.

Rules
- It connects, reconnects (1, 2, 4 … 60 s with jitter), subscribes and carries effects out; it decides nothing else.
- MQTT 5; MQTT 3.1.1 when the broker refuses version 5. The ways to a broker are in `transport`.
- A listener is seen as online as long as it is connected: by its state, and by a will with the same connection id.
- A refused token is refreshed once per refusal (`refresh`), and again later while the server cannot; without a way to,
  the client ends with `Refusal`.
- Not more than `EVENTS_MOST` effects wait for the application: then the socket is read no further.
"""

import asyncio
import math
import random
import secrets
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self, assert_never

import aiomqtt

from tidings.profile import Profile
from tidings.protocol import ids, limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, MessageId, UserId
from tidings.protocol.payloads import Message, SendMessage
from tidings.session import Deliver, Effect, Moved, Notice, Outbox, Position, Publish, Session, State, Status, Subscribe
from tidings.session.outbox import back_off
from tidings.session.presence import state_of
from tidings.transport import Transport, check_offered, log, mqtt_client

EVENTS_MOST: Final = 1_000
LEAVE_SECONDS: Final = 1.0
_UNSUPPORTED_VERSION: Final = 132
_BAD_CREDENTIALS: Final = (134, 135)

Event = Deliver | Status | Moved | Notice
Refresh = Callable[[Profile], Awaitable[Profile]]


def now_ms() -> int:
    """Tell the time, ms UTC."""
    return time.time_ns() // 1_000_000


def new_message_id() -> MessageId:
    """Make an id for a message: UUIDv7 (RFC 9562, section 5.7), as 32 hex digits."""
    stamp, noise = now_ms(), secrets.randbits(74)
    return MessageId(f"{stamp << 80 | 0x7 << 76 | (noise >> 62) << 64 | 0b10 << 62 | noise & (1 << 62) - 1:032x}")


class Client:
    """One device, connected as long as it is entered; `async for entry in client` gives what is said.

    `listening` False is for senders: entries are not taken from the stream, and nothing is claimed as delivered, so a
    listener gets them all later. `transport` chooses the way to the broker; `tls` is the context for `tls` (the
    system's authorities unless given; `ssl.create_default_context(cafile=…)` for one's own), and makes a WebSocket
    `wss`.
    `presence`: whether this device is seen as online; a listener is, unless told otherwise. Raises `Refusal` when the
    server does not offer the way.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        outbox: Outbox | None = None,
        positions: Mapping[ConvId, Position] | None = None,
        backlog: int = limits.HISTORY_PAGE,
        listening: bool = True,
        refresh: Refresh | None = None,
        transport: Transport = "mqtt",
        tls: ssl.SSLContext | None = None,
        presence: bool | None = None,
    ) -> None:
        check_offered(profile, transport)
        self.profile = profile
        self.session = Session(
            profile.user,
            profile.device,
            boot=secrets.token_hex(5),
            jitter=random.random,
            outbox=outbox,
            positions=positions,
            backlog=backlog,
            claiming=listening,
        )
        self._listening = listening
        self._refresh = refresh
        self._transport = transport
        self._tls = ssl.create_default_context() if transport == "tls" and tls is None else tls
        self._presence = listening if presence is None else presence
        self._status = "online"
        self._connection = ""
        self._events: deque[Event] = deque()
        self._outgoing: deque[Publish | Subscribe] = deque()
        self._version = aiomqtt.ProtocolVersion.V5
        self._waiting: dict[tuple[ConvId, MessageId], asyncio.Future[int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._signal = asyncio.Event()
        self._eventful = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._publishing: set[asyncio.Task[None]] = set()
        self._drained = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        """Set while there is a connection."""

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        if self._timer is not None:
            self._timer.cancel()

    # What the application does.

    def post(self, conv: ConvId, body: str, *, to: UserId = UserId(""), reply_to: int = 0) -> MessageId:
        """Put a text into the outbox; returns its id. Raises `Refusal` when it is outside the limits."""
        now = now_ms()
        message = SendMessage(new_message_id(), body, to=to, sent_at=now, reply_to=reply_to)
        self._carry_out(self.session.send(conv, message, now))
        return message.id

    async def send(self, conv: ConvId, body: str, *, to: UserId = UserId(""), reply_to: int = 0) -> int:
        """Say something and wait until it is stored; returns its seq. Raises `Refusal`. A cancelled wait leaves the
        message in the outbox."""
        message_id = self.post(conv, body, to=to, reply_to=reply_to)
        return await self.stored(conv, message_id)

    async def send_to(self, user: UserId, body: str) -> int:
        """Say something to a user, in your direct conversation; returns its seq. Raises `Refusal`."""
        return await self.send(ids.direct_conversation(self.profile.user, user), body, to=user)

    async def stored(self, conv: ConvId, message_id: MessageId) -> int:
        """Wait until a posted message is stored; to be called at once after `post`. Raises `Refusal`."""
        answer = self._waiting.setdefault((conv, message_id), asyncio.get_running_loop().create_future())
        try:
            return await answer
        finally:
            self._waiting.pop((conv, message_id), None)

    async def online(self) -> None:
        """Wait until there is a connection. Raises `Refusal` when the server will not have this device."""
        assert self._running is not None
        connecting = asyncio.create_task(self.connected.wait())
        try:
            await asyncio.wait((connecting, self._running), return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
        if not self.connected.is_set():
            self._check_running()

    def mark_read(self, conv: ConvId, seq: int) -> None:
        """The user has read everything up to `seq`."""
        self._carry_out(self.session.mark_read(conv, seq, now_ms()))

    def show(self, status: Literal["online", "away"]) -> None:
        """Let those who look at this user see that the device is `online`, or `away`; also after a reconnect."""
        self._status = status
        if self._presence and self.connected.is_set():
            self._carry_out([self._state(status)])

    def watch(self, users: Iterable[UserId]) -> None:
        """Look at these users' presence from now on, and at nobody else's: it comes as `Notice(PresenceNotice)`. Raises
        `Refusal` when they are more than 200."""
        self._carry_out(self.session.watch(users, now_ms()))

    async def drained(self, within: float = 2.0) -> None:
        """Wait until receipts and whatever else is due has gone out and was acknowledged, at most `within` seconds."""
        try:
            async with asyncio.timeout(within):
                while self._outgoing or self._publishing or self.session.claims_due:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return

    async def events(self) -> AsyncIterator[Event]:
        """Iterate everything that happens: entries, own messages' progress, watermarks, notices. Raises `Refusal`
        when the server will not have this device any more."""
        while True:
            while self._events:
                event = self._events.popleft()
                if len(self._events) < EVENTS_MOST:
                    self._roomy.set()
                yield event
            self._check_running()
            self._eventful.clear()
            await self._eventful.wait()

    async def __aiter__(self) -> AsyncIterator[Message]:
        async for event in self.events():
            if isinstance(event, Deliver):
                yield event.entry

    # The connection.

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with self._mqtt() as mqtt:
                    failures = 0
                    await self._serve(mqtt)
            except aiomqtt.MqttError as error:
                _check_cancelled()
                log.info("no connection to %s: %s", self.profile.host, error)
                await self._refused(error)
            except (OSError, TimeoutError) as error:
                log.info("no connection to %s: %s", self.profile.host, error)
            await asyncio.sleep(back_off(failures, random.random()) / 1_000)
            failures += 1

    async def _serve(self, mqtt: aiomqtt.Client) -> None:
        self._outgoing.clear()
        self.connected.set()
        self._carry_out(self.session.connected(now_ms()))
        if self._presence:
            self._carry_out([self._state(self._status)])
        writing = asyncio.create_task(self._write(mqtt))
        try:
            await self._read(mqtt)
        except asyncio.CancelledError:
            await self._leave(mqtt)
            raise
        finally:
            writing.cancel()
            for publishing in tuple(self._publishing):
                publishing.cancel()
            self.connected.clear()
            self._carry_out(self.session.disconnected(now_ms()))

    async def _read(self, mqtt: aiomqtt.Client) -> None:
        async for message in mqtt.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self._carry_out(self.session.received(str(message.topic), payload, now_ms()))
            await self._roomy.wait()

    async def _write(self, mqtt: aiomqtt.Client) -> None:
        """Give the broker what is due, in order. Who waits for a PUBACK is a task, so that nobody waits behind it; a
        connection that breaks here is noticed by the reader, and the session says everything again."""
        while True:
            while self._outgoing:
                match effect := self._outgoing.popleft():
                    case Subscribe():
                        with suppress(aiomqtt.MqttError):
                            await mqtt.subscribe([(name, 1) for name in effect.filters])
                    case Publish():
                        publishing = asyncio.create_task(self._publish(mqtt, effect))
                        self._publishing.add(publishing)
                        publishing.add_done_callback(self._published)
                    case _:
                        assert_never(effect)
            self._signal.clear()
            await self._signal.wait()

    async def _publish(self, mqtt: aiomqtt.Client, effect: Publish) -> None:
        with suppress(aiomqtt.MqttError):
            await mqtt.publish(effect.topic, effect.payload, qos=effect.qos, timeout=math.inf)

    def _published(self, publishing: "asyncio.Task[None]") -> None:
        self._publishing.discard(publishing)
        self._drained.set()

    def _mqtt(self) -> aiomqtt.Client:
        self._connection = secrets.token_hex(8)
        will = self._state("offline") if self._presence else None
        return mqtt_client(self.profile, self._transport, self._tls, self._version, will)

    def _state(self, status: str) -> Publish:
        return state_of(self.profile.user, self.profile.device, status, self._connection)

    async def _leave(self, mqtt: aiomqtt.Client) -> None:
        """Say good-bye: a DISCONNECT takes the will back."""
        if self._presence:
            gone = self._state("offline")
            with suppress(aiomqtt.MqttError):
                await mqtt.publish(gone.topic, gone.payload, qos=0, timeout=LEAVE_SECONDS)

    async def _refused(self, error: aiomqtt.MqttError) -> None:
        if not isinstance(error, aiomqtt.MqttCodeError):
            return
        code = getattr(error.rc, "value", error.rc)
        if code == _UNSUPPORTED_VERSION and self._version is aiomqtt.ProtocolVersion.V5:
            self._version = aiomqtt.ProtocolVersion.V311
        elif code in _BAD_CREDENTIALS:
            if self._refresh is None:
                raise Refusal(Code.UNAUTHENTICATED, "the broker refused the token; log in again")
            try:
                self.profile = await self._refresh(self.profile)
            except Refusal as refusal:
                if not refusal.kind.retryable:
                    raise
                log.info("the token cannot be renewed now: %s", refusal)

    # Effects.

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish() | Subscribe():
                    self._outgoing.append(effect)
                case Status():
                    self._answer(effect)
                    self._tell(effect)
                case Deliver() | Moved() | Notice():
                    self._tell(effect)
                case _:
                    assert_never(effect)
        self._signal.set()
        self._set_timer()

    def _tell(self, event: Event) -> None:
        if self._listening:
            self._events.append(event)
            self._eventful.set()
            if len(self._events) >= EVENTS_MOST:
                self._roomy.clear()

    def _answer(self, status: Status) -> None:
        answer = self._waiting.get((status.conv, status.id))
        if answer is None or answer.done():
            return
        if status.state is State.SENT:
            answer.set_result(status.seq)
        elif status.state is State.FAILED and status.error is not None:
            code = Code(status.error.code) if status.error.code in set(Code) else Code.INTERNAL
            answer.set_exception(Refusal(code, status.error.text, retry_after=status.error.retry_after))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (wake := self.session.wake_at) is not None:
            delay = max(0.0, (wake - now_ms()) / 1_000)
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self.session.tick(now_ms()))

    def _ended(self, running: "asyncio.Task[None]") -> None:
        self._eventful.set()
        error = None if running.cancelled() else running.exception()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error or Refusal(Code.UNAVAILABLE, "the client was closed"))

    def _check_running(self) -> None:
        if self._running is None or self._running.cancelled():
            raise Refusal(Code.UNAVAILABLE, "the client was closed")
        if self._running.done() and (error := self._running.exception()) is not None:
            raise error


def _check_cancelled() -> None:
    """Go on with a cancellation in whose place aiomqtt has raised its own error, because the goodbye failed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
