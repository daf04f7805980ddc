"""Mosquitto's configuration as text, from `Settings`. Pure.

Rules
- Every connection is asked by our plugin; anonymous ones are not known.
- What Mosquitto has no setting for is not promised here: a rate a connection, a limit of subscriptions, the time a
  new connection has for its CONNECT (it takes about 90 s). docs/brokers.md lists them.
- Mosquitto has one limit of queues for everybody, bridges included, and drops silently beyond it: so it is the bridge's
  need that decides it.
- Everything that is kept is written anew after `autosave` changes (1: within the loop's round). What a kill -9 loses of
  it, the store's gap repair and the clients' outboxes bring back.
"""

from pathlib import Path

from msgspec import Struct

from broker.port import Limits


class Settings(Struct, frozen=True, kw_only=True):
    """Where a Mosquitto listens and keeps its data, and the plugin it asks. `websocket` 0: no such listener. `user` is
    the system user it stays when it is started as root. `python` is the environment's interpreter, `path` further
    folders of modules, `gate` another gate than that of tokens (`module:function`)."""

    folder: Path
    mqtt: int
    plugin: Path
    python: Path
    websocket: int = 0
    host: str = "127.0.0.1"
    user: str = "mosquitto"
    limits: Limits = Limits()
    autosave: int = 1
    path: tuple[Path, ...] = ()
    gate: str = ""

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "mosquitto.conf"


def configuration(settings: Settings, parent: int) -> str:
    """Write the configuration file's text. Mosquitto ends when the process `parent` has ended; 0: it does not."""
    limits = settings.limits
    general = {
        "user": settings.user,
        "allow_anonymous": "false",
        "per_listener_settings": "false",
        "plugin": settings.plugin,
        "plugin_opt_python": settings.python,
        "plugin_opt_path": ":".join(map(str, settings.path)),
        "plugin_opt_folder": settings.folder,
        "plugin_opt_gate": settings.gate,
        "plugin_opt_parent": parent,
        # The plugin refused a retained message when it came; Mosquitto asks again in the name of nobody it knows.
        "check_retain_source": "false",
        "persistence": "true",
        "persistence_location": f"{settings.folder}/",
        "autosave_on_changes": "true",
        "autosave_interval": settings.autosave,
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
    lines = [f"{name} {value}" for name, value in general.items() if value != ""]
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
