"""Which broker stands in the door: started by the settings, and reached by our own processes in its own way.

Rules: beside the embedded broker our links have no socket and no token; to any other broker they are clients like
others, with tokens that this process signs for itself, short-lived and made anew for each connect.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from prometheus_client.registry import Collector

from acl.gate import TokenGate, bridge_claims, service_claims
from acl.keys import KeySet
from acl.revocations import Revocations
from acl.tokens import Claims, issue
from app.clock import entropy, now_ms
from app.settings import BadSettings, Settings
from bridge.links.mqtt import Address, MqttLink
from bridge.links.wire import Codec
from broker.embedded import codec311
from broker.embedded.durable import SqliteStore
from broker.embedded.link import InProcessLink
from broker.embedded.server import EmbeddedBroker
from broker.metrics import BrokerCollector
from broker.port import Broker, Endpoints, Limits
from tidings.protocol.ids import GROUPS, Group
from tidings.protocol.link import Link

LINK_TOKEN_MS: Final = 3_600_000
MOSQUITTO_LIMITS: Final = Limits(inflight=1_000, queue_messages=20_000, queue_bytes=64 * 1024 * 1024)
"""Mosquitto has one limit for bridges and devices, and drops beyond it: half a minute of a busy lane group's messages
must fit while its store is away."""


@dataclass(frozen=True)
class Door:
    """A started broker, the ways to it, and its metrics where it is ours to count."""

    broker: Broker
    endpoints: Endpoints
    bridge_link: Callable[[Group], Link]
    service_link: Callable[[str], Link]
    metrics: Collector | None = None


@asynccontextmanager
async def open_door(
    settings: Settings, ports: dict[str, int], gate: TokenGate, keys: KeySet, revocations: Revocations
) -> AsyncIterator[Door]:
    """Start the broker that the settings name; stop it at the end. `revocations` is the gate's snapshot, for a broker
    that asks a gate of its own. Raises `OSError` when a port is taken, `BadSettings` when the broker cannot be had."""
    match settings.broker:
        case "embedded":
            opening = _embedded(settings, ports, gate)
        case "mosquitto":
            opening = _mosquitto(settings, ports, keys, revocations)
        case "amqtt":
            opening = _amqtt(settings, ports, gate, keys)
        case other:
            assert_never(other)
    async with opening as door:
        yield door


@asynccontextmanager
async def _embedded(settings: Settings, ports: dict[str, int], gate: TokenGate) -> AsyncIterator[Door]:
    broker = EmbeddedBroker(
        gate,
        SqliteStore(settings.data / "broker.db"),
        now_ms,
        host=settings.host,
        mqtt=ports["mqtt_port"],
        websocket=ports["websocket_port"],
        tls=settings.tls_port or None,
        tls_context=_tls(settings),
        limits=_limits(settings),
        entropy=entropy,
    )
    endpoints = await broker.start()
    try:
        yield Door(
            broker,
            endpoints,
            lambda group: InProcessLink(broker, f"bridge-{group}"),
            lambda process: InProcessLink(broker, f"api-{process}"),
            BrokerCollector(lambda: broker.counts, broker.health),
        )
    finally:
        await broker.stop()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_port:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(str(settings.tls_certificate), str(settings.tls_key))
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(f"TIDINGS_TLS_CERTIFICATE and TIDINGS_TLS_KEY cannot be read: {error}") from None
    return context


def _limits(settings: Settings) -> Limits:
    """The broker's limits; a server without a limit on messages (as for measuring) has none on a connection's rate."""
    return Limits() if settings.limits_messages_a_minute else Limits(publish_rate=1e9, publish_burst=10**9)


@asynccontextmanager
async def _amqtt(settings: Settings, ports: dict[str, int], gate: TokenGate, keys: KeySet) -> AsyncIterator[Door]:
    # Imported here: amqtt is an extra that most installations do not have.
    from broker.amqtt.server import AmqttBroker

    broker = AmqttBroker(gate, now_ms, mqtt=ports["mqtt_port"], websocket=ports["websocket_port"], host=settings.host)
    async with _started(broker, keys, codec311) as door:
        yield door


@asynccontextmanager
async def _mosquitto(
    settings: Settings, ports: dict[str, int], keys: KeySet, revocations: Revocations
) -> AsyncIterator[Door]:
    # Imported here: the plugin needs an extra, and a compiler at its first start.
    from broker.mosquitto.build import CannotBuild, build
    from broker.mosquitto.configuration import Settings as MosquittoSettings
    from broker.mosquitto.server import MosquittoBroker, settings_user

    if settings.tls_port:
        raise BadSettings("TIDINGS_TLS_PORT is not offered with TIDINGS_BROKER=mosquitto yet; end TLS before it")
    folder = settings.data.absolute() / "mosquitto"
    try:
        plugin = await asyncio.to_thread(build, folder / "plugin")
    except CannotBuild as error:
        raise BadSettings(f"TIDINGS_BROKER=mosquitto: {error}") from None
    chosen = MosquittoSettings(
        folder=folder,
        mqtt=ports["mqtt_port"],
        websocket=ports["websocket_port"],
        host=settings.host,
        plugin=plugin,
        python=Path(sys.executable),
        user=settings_user(),
        limits=MOSQUITTO_LIMITS,
    )
    broker = MosquittoBroker(chosen, keys, revocations, GROUPS)
    try:
        async with _started(broker, keys, None) as door:
            yield door
    except FileNotFoundError as error:
        raise BadSettings(f"TIDINGS_BROKER=mosquitto: {error}") from None


@asynccontextmanager
async def _started(broker: Broker, keys: KeySet, codec: Codec | None) -> AsyncIterator[Door]:
    """Start a broker to which our processes are clients like others; `codec` None speaks MQTT 5."""
    endpoints = await broker.start()

    def link(name: str, claims: Callable[[], Claims]) -> Link:
        address = Address(endpoints.host, endpoints.mqtt, name, name, password=lambda: issue(keys, claims()).encode())
        return MqttLink(address, codec)

    try:
        yield Door(
            broker,
            endpoints,
            lambda group: link(f"bridge-{group}", lambda: bridge_claims(group, now_ms(), LINK_TOKEN_MS)),
            lambda process: link(f"api-{process}", lambda: service_claims(process, now_ms(), LINK_TOKEN_MS)),
        )
    finally:
        await broker.stop()
