"""Which broker stands in the door: started by the settings, and reached by our own processes in its own way.

Rules: beside the embedded broker our links have no socket and no token; to any other broker they are clients like
others, with tokens that this process signs for itself, short-lived and made anew for each connect.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from acl.gate import TokenGate, bridge_claims, service_claims
from acl.keys import KeySet
from acl.tokens import Claims, issue
from app.clock import now_ms
from app.settings import Settings
from bridge.links.mqtt import Address, MqttLink
from broker.port import Broker, Endpoints
from tidings.protocol.ids import Group
from tidings.protocol.link import Link

LINK_TOKEN_MS: Final = 3_600_000


@dataclass(frozen=True)
class Door:
    """A started broker and the ways to it."""

    broker: Broker
    endpoints: Endpoints
    bridge_link: Callable[[Group], Link]
    service_link: Callable[[str], Link]


@asynccontextmanager
async def open_door(settings: Settings, ports: dict[str, int], gate: TokenGate, keys: KeySet) -> AsyncIterator[Door]:
    """Start the broker that the settings name; stop it at the end. Raises `OSError` when a port is taken."""
    opening = _amqtt(settings, ports, gate, keys) if settings.broker == "amqtt" else _embedded(settings, ports, gate)
    async with opening as door:
        yield door


@asynccontextmanager
async def _embedded(settings: Settings, ports: dict[str, int], gate: TokenGate) -> AsyncIterator[Door]:
    raise NotImplementedError
    yield


@asynccontextmanager
async def _amqtt(settings: Settings, ports: dict[str, int], gate: TokenGate, keys: KeySet) -> AsyncIterator[Door]:
    # Imported here: amqtt is an extra that most installations do not have.
    from broker.amqtt.server import AmqttBroker
    from broker.embedded import codec311

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
