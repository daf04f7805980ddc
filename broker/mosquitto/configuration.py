"""Mosquitto's configuration as text, from `Limits`. Pure.

Rules
- What Mosquitto has no setting for is not promised here: a rate a connection, a limit of subscriptions, the time a
  new connection has for its CONNECT (it takes about 90 s). docs/brokers.md lists them.
- Persistence is written within a second of a change; a kill -9 loses that second, which the store's gap repair heals.
"""

from pathlib import Path

from msgspec import Struct

from broker.port import Limits


class Settings(Struct, frozen=True, kw_only=True):
    """Where a Mosquitto listens and keeps its data. `websocket` 0: no such listener. `user` is the system user it
    stays when it is started as root."""

    folder: Path
    mqtt: int
    websocket: int = 0
    host: str = "127.0.0.1"
    user: str = "mosquitto"
    limits: Limits = Limits()

    @property
    def passwords(self) -> Path:
        """The password file."""
        return self.folder / "passwords"

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "mosquitto.conf"


def configuration(settings: Settings) -> str:
    """Write the configuration file's text."""
    limits = settings.limits
    general = {
        "user": settings.user,
        "allow_anonymous": "false",
        "password_file": settings.passwords,
        "persistence": "true",
        "persistence_location": f"{settings.folder}/",
        "autosave_on_changes": "true",
        "autosave_interval": 1,
        "persistent_client_expiration": f"{max(1, limits.session_expiry // 3600)}h",
        "max_inflight_messages": limits.inflight,
        "max_queued_messages": limits.queue_messages,
        "max_queued_bytes": limits.queue_bytes,
        "max_packet_size": limits.packet_bytes,
        "queue_qos0_messages": "false",
        "set_tcp_nodelay": "true",
        "sys_interval": 1,
        "log_dest": "stderr",
        "connection_messages": "false",
    }
    lines = [f"{name} {value}" for name, value in general.items()]
    lines += [f"log_type {kind}" for kind in ("error", "warning", "notice")]
    lines += _listener(settings.mqtt, "mqtt", settings)
    if settings.websocket:
        lines += _listener(settings.websocket, "websockets", settings)
    return "\n".join(lines) + "\n"


def _listener(port: int, protocol: str, settings: Settings) -> list[str]:
    return [
        f"listener {port} {settings.host}",
        f"protocol {protocol}",
        f"max_connections {settings.limits.connections}",
    ]
