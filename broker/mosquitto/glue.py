"""Between C and the desk, inside Mosquitto's process: clocks, files and errors. Only the plugin imports this.

Rules
- Nothing raises into C: what fails is logged and denied.
- The two files are looked at once a tick (100 ms) and at each CONNECT, by their change time and number; a file that
  cannot be read leaves the last one in force.
"""

import random
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from acl import jwks
from acl.decisions import Gate
from acl.gate import TokenGate
from acl.keys import BadKeys
from acl.revocations import Revocations
from acl.tokens import Verifier
from broker.mosquitto import control
from broker.mosquitto.control import BadControl, Control
from broker.mosquitto.desk import Desk

_ERROR: Final = 0x08
"""Mosquitto's `MOSQ_LOG_ERR`."""


class Plugin(Protocol):
    """What C offers."""

    def plugin_kick(self, client_id: bytes) -> None:
        """Disconnect a client; within a tick only."""

    def plugin_forget(self, client: int) -> None:
        """Forget a connection's record."""

    def plugin_log(self, level: int, text: bytes) -> None:
        """Write a line into Mosquitto's log."""


class Papers:
    """The two files of a folder, and a gate over them."""

    def __init__(self, folder: Path, *, own_gate: bool) -> None:
        self._paths = [folder / control.CONTROL, folder / control.JWKS][: 2 if own_gate else 1]
        self._seen: list[tuple[int, int]] = []
        self.control = Control(admitted=False, operator="")
        self.verifier = Verifier(jwks.VerifyingKeySet(()))
        self.revocations = Revocations()

    def changed(self) -> bool:
        """Read what is new; tells whether anything is. Raises `OSError`, `BadControl`, `BadKeys`."""
        stats = [path.stat() for path in self._paths]
        seen = [(stat.st_mtime_ns, stat.st_ino) for stat in stats]
        if seen == self._seen:
            return False
        self._seen = seen
        found = control.decode(self._paths[0].read_bytes())
        for path in self._paths[1:]:
            self.verifier.use(jwks.decode(path.read_bytes()))
        self.revocations.replace(found.version, list(found.revocations))
        self.control = found
        return True


class Glue:
    """The desk, asked by C."""

    def __init__(self, ffi: Any, lib: Plugin) -> None:
        self._ffi, self._lib = ffi, lib
        self._papers: Papers
        self._desk: Desk
        self._over: list[str] = []

    def open(self, folder: Any, gate: Any) -> int:
        """Open the desk over a folder. `gate` is empty, or names a function that makes another gate: `module:name`."""
        other = self._text(gate)
        self._papers = Papers(Path(self._text(folder)), own_gate=not other)
        self._papers.changed()
        self._desk = Desk(self._gate(other), self._papers.control, self._lib.plugin_forget)
        return 1

    def authenticate(self, client: int, client_id: Any, username: Any, password: Any) -> int:
        """See `Desk.authenticate`."""
        now = _now()
        self._read(now)
        words = (self._text(client_id), self._text(username), self._text(password))
        return int(self._desk.authenticate(client, *words, now))

    def check(self, client: int, access: int, topic: Any, qos: int, retain: int) -> int:
        """See `Desk.check`."""
        return int(self._desk.check(client, access, self._text(topic), qos=qos, retain=bool(retain)))

    def left(self, client: int) -> None:
        """See `Desk.left`."""
        self._desk.left(client)

    def tick(self) -> None:
        """End what is void; read what is new."""
        now = _now()
        self._read(now)
        over, self._over = self._over, []
        for client_id in (*over, *self._desk.expired(now)):
            self._lib.plugin_kick(client_id.encode())

    def failed(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        """Log what must not have happened; the answer is the denial that the extern is made with."""
        self._log("".join(traceback.format_exception(kind, error, trace)))

    def _read(self, now: int) -> None:
        try:
            if self._papers.changed():
                self._over += self._desk.use(self._papers.control, now)
        except (OSError, BadControl, BadKeys) as error:
            self._log(str(error))

    def _gate(self, other: str) -> Gate:
        if not other:
            return TokenGate(self._papers.verifier, self._papers.revocations, random.random)
        module, _, name = other.partition(":")
        made: Gate = getattr(import_module(module), name)()
        return made

    def _text(self, pointer: Any) -> str:
        raw: bytes = self._ffi.string(pointer)
        return raw.decode("utf-8", "surrogateescape")

    def _log(self, text: str) -> None:
        for line in text.splitlines():
            self._lib.plugin_log(_ERROR, line.encode())


def connect(ffi: Any, lib: Plugin) -> None:
    """Offer the desk to C. An exception answers -1 (later, denied) or 0."""
    glue = Glue(ffi, lib)
    for name, function, otherwise in (
        ("desk_open", glue.open, 0),
        ("desk_authenticate", glue.authenticate, -1),
        ("desk_check", glue.check, -1),
    ):
        ffi.def_extern(name=name, error=otherwise, onerror=glue.failed)(function)
    for name, procedure in (("desk_left", glue.left), ("desk_tick", glue.tick)):
        ffi.def_extern(name=name, onerror=glue.failed)(procedure)


def _now() -> int:
    return time.time_ns() // 1_000_000
