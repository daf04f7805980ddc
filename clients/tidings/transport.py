"""The way to a broker: MQTT over TCP, TLS or WebSocket, version 5 or 3.1.1, on aiomqtt.

Rules: a session of 30 days, taken up again at every connect; a will when there is one to leave. The ports are those of
the login answer; a way that the server does not offer is refused before anything is tried.
"""

import logging
import ssl
from typing import Any, Final, Literal

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tidings.profile import Profile
from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal
from tidings.session import Publish

KEEPALIVE_SECONDS: Final = 30
INCOMING_MOST: Final = 10_000

Transport = Literal["mqtt", "tls", "websocket"]

log: Final = logging.getLogger("tidings.mqtt")


def check_offered(profile: Profile, transport: Transport) -> None:
    """Refuse a way that the server does not offer."""
    if transport not in profile.ports:
        offered = ", ".join(sorted(profile.ports)) or "none"
        raise Refusal(Code.UNSUPPORTED, f"{profile.host} offers no {transport!r} (but {offered}); choose another")


def mqtt_client(
    profile: Profile,
    transport: Transport,
    tls: ssl.SSLContext | None,
    version: aiomqtt.ProtocolVersion,
    will: Publish | None,
) -> aiomqtt.Client:
    """Make a client for one connection. `tls` on a WebSocket makes it `wss`."""
    client = aiomqtt.Client(
        profile.host,
        profile.ports[transport],
        identifier=profile.client_id,
        username=profile.user,
        password=profile.token,
        protocol=version,
        transport="websockets" if transport == "websocket" else "tcp",
        websocket_path=profile.path if transport == "websocket" else None,
        tls_context=tls,
        will=aiomqtt.Will(will.topic, will.payload, qos=will.qos) if will is not None else None,
        keepalive=KEEPALIVE_SECONDS,
        max_queued_incoming_messages=INCOMING_MOST,
        logger=log,
        **_durable(version),
    )
    client.pending_calls_threshold = INCOMING_MOST
    return client


def _durable(version: aiomqtt.ProtocolVersion) -> dict[str, Any]:
    """Ask for a session that outlives the connection; paho takes each version's own options alone."""
    if version is not aiomqtt.ProtocolVersion.V5:
        return {"clean_session": False}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = limits.SESSION_EXPIRY_SECONDS
    return {"clean_start": False, "properties": properties}
