"""`broker.port.Broker` over amqtt, in this process: for trials, and to know what the embedded broker is measured by.

Rules
- Nothing of amqtt is changed in place: `GatedBroker` puts the door before a connection and asks the gate again where
  amqtt's plugins see too little.
- What amqtt cannot do is not promised: docs/brokers.md has the list, which the conformance tests hold to be true.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.errors import AMQTTError
from amqtt.session import Session
from mqtt5 import ConnAckReasonCode

from acl.decisions import Gate, Principal
from broker.amqtt.door import Turned, Watched, admit, knock, refused
from broker.port import Endpoints, Health, Limits

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks for principals that have become void."""


class GatedBroker(Broker):  # type: ignore[misc]
    """amqtt with our gate before it. `principals` are who is let in, by client id."""

    def __init__(self, config: dict[str, Any], gate: Gate, limits: Limits, clock: Callable[[], int]) -> None:
        self.gate = gate
        self.principals: dict[str, Principal] = {}
        self.admitting = False
        self._limits = limits
        self._clock = clock
        super().__init__(config)

    async def _client_connected(self, listener_name: str, reader: ReaderAdapter, writer: WriterAdapter) -> None:
        try:
            connect, raw = await knock(reader, self._limits)
            principal = admit(self.gate, connect, self._clock())
            if not self.admitting and not principal.custodian:
                raise refused(ConnAckReasonCode.SERVER_UNAVAILABLE)
            if not connect.client_id and not connect.clean_start:
                raise refused(ConnAckReasonCode.CLIENT_ID_NOT_VALID)
        except Turned as turned:
            await _turn_away(writer, turned.answer)
            return
        self.principals[connect.client_id] = principal
        watched = Watched(reader, writer, raw, keep_alive=connect.keep_alive, most=self._limits.packet_bytes)
        await super()._client_connected(listener_name, watched, writer)

    async def _handle_message_delivery(self, client_session: Session, handler: Any, wait_deliver: Any) -> bool:
        message = wait_deliver.result()
        if message is not None and not self._may_publish(client_session, message):
            return True
        return bool(await super()._handle_message_delivery(client_session, handler, wait_deliver))

    def _may_publish(self, session: Session, message: Any) -> bool:
        principal = self.principals.get(session.client_id)
        packet = message.publish_packet
        retain = bool(packet is not None and packet.retain_flag)
        qos = int(message.qos or 0)
        return principal is not None and self.gate.publish(principal, message.topic, retain=retain, qos=qos).allowed

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # At a connect amqtt asks this for everybody's subscriptions: others' retained messages would be told.
        if any(subscriber is session for subscriber, _ in self.subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def cut(self, client_id: str) -> None:
        """End a client's connection; its session stays."""
        session, handler = self.sessions.get(client_id, (None, None))
        self.principals.pop(client_id, None)
        if session is None or not session.transitions.is_connected():
            return
        writer = handler.writer
        await handler.handle_connection_closed()
        if writer is not None:
            await _turn_away(writer, b"")

    async def forget(self, client_id: str) -> None:
        """Delete a client's session, its queue and its subscriptions."""
        await self._cleanup_session(client_id)

    def void(self, now: int) -> list[str]:
        """List who must be disconnected now."""
        return [name for name, principal in self.principals.items() if self.gate.is_void(principal, now)]


async def _turn_away(writer: WriterAdapter, answer: bytes) -> None:
    with contextlib.suppress(ConnectionError, AMQTTError):
        if answer:
            writer.write(answer)
            await writer.drain()
        await writer.close()


class AmqttBroker:
    """amqtt as the rest of Tidings sees a broker. `clock` gives ms UTC."""

    def __init__(
        self,
        gate: Gate,
        clock: Callable[[], int],
        *,
        mqtt: int,
        websocket: int = 0,
        host: str = "127.0.0.1",
        limits: Limits = Limits(),
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._limits = limits
        self._endpoints = Endpoints(host, mqtt, websocket=websocket)
        self._broker: GatedBroker | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> Endpoints:
        """Start listening. Raises `OSError` when a port is taken."""
        self._broker = GatedBroker(self._configuration(), self._gate, self._limits, self._clock)
        try:
            await self._broker.start()
        except AMQTTError as error:
            raise OSError(str(error)) from error
        self._looking = asyncio.create_task(self._keep_looking())
        return self._endpoints

    def _configuration(self) -> dict[str, Any]:
        at = self._endpoints
        most = self._limits.connections
        listeners = {"default": {"type": "tcp", "bind": f"{at.host}:{at.mqtt}", "max_connections": most}}
        if at.websocket:
            listeners["ws"] = {"type": "ws", "bind": f"{at.host}:{at.websocket}", "max_connections": most}
        return {
            "listeners": listeners,
            "session_expiry_interval": self._limits.session_expiry,
            "plugins": {"broker.amqtt.plugins.GatePlugin": {}},
        }

    async def _keep_looking(self) -> None:
        while self._broker is not None:
            for client_id in self._broker.void(self._clock()):
                await self._broker.cut(client_id)
            await asyncio.sleep(_LOOK_EVERY)

    def admit(self) -> None:
        """Let devices in."""
        if self._broker is not None:
            self._broker.admitting = True

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        """Disconnect a client; `forget` deletes its session and queue as well."""
        if self._broker is None:
            return
        await self._broker.cut(client_id)
        if forget:
            await self._broker.forget(client_id)

    def health(self) -> Health:
        """Tell the state; amqtt counts no drops."""
        if self._broker is None:
            return Health(ready=False, reasons=("amqtt does not run",))
        sessions = [session for session, _ in self._broker.sessions.values()]
        return Health(
            ready=True,
            connections=sum(session.transitions.is_connected() for session in sessions),
            sessions=len(sessions),
            queued=sum(session.retained_messages_count for session in sessions),
        )

    async def stop(self) -> None:
        """Stop. amqtt keeps nothing: sessions and queues end here."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()
