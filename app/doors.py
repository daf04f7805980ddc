"""Which broker stands in the door: started by the settings, and reached by our own processes in its own way.

Rules: beside the embedded broker our links have no socket and no token; to any other broker they are clients like
others, with tokens that this process signs for itself, short-lived and made anew for each connect.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client.registry import Collector

from acl.gate import TokenGate, bridge_claims, service_claims
from acl.keys import KeySet
from acl.tokens import Claims, issue
from app.clock import entropy, now_ms
from app.settings import BadSettings, Settings
from bridge.links.mqtt import Address, MqttLink
from broker.embedded import codec311
from broker.embedded.durable import SqliteStore
from broker.embedded.link import InProcessLink
from broker.embedded.server import EmbeddedBroker
from broker.metrics import BrokerCollector
from broker.port import Broker, Endpoints, Limits
from tidings.protocol.ids import Group
from tidings.protocol.link import Link

LINK_TOKEN_MS: Final = 3_600_000


@dataclass(frozen=True)
class Door:
    """A started broker, the ways to it, and its metrics where it is ours to count."""

    broker: Broker
    endpoints: Endpoints
    bridge_link: Callable[[Group], Link]
    service_link: Callable[[str], Link]
    metrics: Collector | None = None


@asynccontextmanager
async def open_door(settings: Settings, ports: dict[str, int], gate: TokenGate, keys: KeySet) -> AsyncIterator[Door]:
    """Start the broker that the settings name; stop it at the end. Raises `OSError` when a port is taken."""
    opening = _amqtt(settings, ports, gate, keys) if settings.broker == "amqtt" else _embedded(settings, ports, gate)
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
    endpoints = await broker.start()

    def link(name: str, claims: Callable[[], Claims]) -> Link:
        address = Address(settings.host, endpoints.mqtt, name, name, password=lambda: issue(keys, claims()).encode())
        return MqttLink(address, codec311)

    try:
        yield Door(
            broker,
            endpoints,
            lambda group: link(f"bridge-{group}", lambda: bridge_claims(group, now_ms(), LINK_TOKEN_MS)),
            lambda process: link(f"api-{process}", lambda: service_claims(process, now_ms(), LINK_TOKEN_MS)),
        )
    finally:
        await broker.stop()
