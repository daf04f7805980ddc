"""Which ports to listen on: the asked-for one or none, a default one or the next free.

Rules: a port that was asked for and is taken is an error of one line; a default that is taken is replaced by the
next free one and the caller is told. Ports below 32768 only: above lie the ports of outgoing connections. An address
that is not this machine's is an error of one line too.
"""

import errno
import socket
from collections.abc import Iterable

from app.settings import PORTS, Settings


class PortTaken(Exception):
    """A port that was asked for cannot be had; the text is one line."""


def choose_ports(settings: Settings) -> tuple[dict[str, int], list[str]]:
    """Tell the port of each listener, and a line for each default that had to be replaced. Raises `PortTaken`."""
    chosen: dict[str, int] = {}
    notes: list[str] = []
    for name in PORTS:
        wanted = getattr(settings, name)
        if is_free(settings.host, wanted) and wanted not in chosen.values():
            chosen[name] = wanted
            continue
        setting = f"TIDINGS_{name.upper()}"
        if settings.asked_for(name):
            raise PortTaken(f"port {wanted} ({setting}) is taken; stop what listens there or choose another")
        chosen[name] = next_free(settings.host, wanted + 1, chosen.values())
        notes.append(f"port {wanted} is taken: {setting.removeprefix('TIDINGS_').lower()} is {chosen[name]}")
    return chosen, notes


def next_free(host: str, start: int, taken: Iterable[int] = ()) -> int:
    """Find the next free port from `start`. Raises `PortTaken` when none is left."""
    for port in range(start, 32768):
        if port not in taken and is_free(host, port):
            return port
    raise PortTaken(f"no free port from {start} on {host}")


def is_free(host: str, port: int) -> bool:
    """Whether a listener could take this port now. Raises `PortTaken` when none could, whatever the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}; see TIDINGS_HOST") from None
    return True
