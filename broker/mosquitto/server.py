"""`broker.port.Broker` over a Mosquitto of one's own: a child process with its folder.

Rules
- Access is by user name and password; our tokens and rules come to Mosquitto by a plugin, which is later work. Until
  then this broker is for trusted clients alone.
- The process is ours: it is started, watched and stopped here, and nobody else's is touched.
- Mosquitto without a plugin admits everyone from the start: `admit` has nothing to open.
"""

import asyncio
import contextlib
import getpass
import secrets
import shutil
import signal
from collections.abc import Mapping
from typing import Final

from broker.mosquitto.configuration import Settings, configuration
from broker.mosquitto.operator import Door, Watch, kick
from broker.port import Endpoints, Health

READY_WITHIN: Final = 10.0
"""Seconds until a started Mosquitto must listen."""
STOP_WITHIN: Final = 5.0
_OPERATOR: Final = "tidings-operator"
_CONNECTED: Final = "$SYS/broker/clients/connected"
_SESSIONS: Final = "$SYS/broker/clients/total"
_QUEUED: Final = "$SYS/broker/store/messages/count"
_DROPPED: Final = "$SYS/broker/publish/messages/dropped"


class MosquittoBroker:
    """A Mosquitto started from the PATH. `passwords` are its users' passwords, by user name."""

    def __init__(self, settings: Settings, passwords: Mapping[str, str], *, executable: str = "mosquitto") -> None:
        self._settings = settings
        self._secret = secrets.token_urlsafe(24)
        self._passwords = {**passwords, _OPERATOR: self._secret}
        self._executable = executable
        self._process: asyncio.subprocess.Process | None = None
        self._door = Door(settings.host, settings.mqtt, _OPERATOR, self._secret.encode())
        self._watch = Watch(self._door, (_CONNECTED, _SESSIONS, _QUEUED, _DROPPED))
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The child's process id, 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> Endpoints:
        """Start Mosquitto and wait until it answers. Raises `OSError` when it is not installed or a port is taken."""
        settings = self._settings
        program = _find(self._executable)
        settings.folder.mkdir(parents=True, exist_ok=True)
        await self._write_passwords()
        settings.configuration.write_text(configuration(settings))
        self._process = await asyncio.create_subprocess_exec(program, "-c", str(settings.configuration))
        await self._until_it_listens()
        self._watching = asyncio.create_task(self._keep_watching())
        return Endpoints(settings.host, settings.mqtt, websocket=settings.websocket)

    async def _write_passwords(self) -> None:
        path = self._settings.passwords
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}:{password}\n" for name, password in self._passwords.items()))
        hashing = await asyncio.create_subprocess_exec(_find("mosquitto_passwd"), "-U", str(path))
        if await hashing.wait() != 0:
            raise OSError("mosquitto_passwd could not hash the passwords")

    async def _until_it_listens(self) -> None:
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN):
                while self._process.returncode is None:
                    with contextlib.suppress(OSError):
                        async with self._door.enter(_OPERATOR, clean=True):
                            return
                    await asyncio.sleep(0.02)
        await self.stop()
        raise OSError(f"mosquitto does not listen on {self._settings.host}:{self._settings.mqtt}; see its output above")

    async def _keep_watching(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._watch.run()
            await asyncio.sleep(1)

    def admit(self) -> None:
        """Mosquitto admits everyone who has a password."""

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        """Disconnect a client by taking its connection over; `forget` deletes its session."""
        await kick(self._door, client_id, forget=forget)

    def health(self) -> Health:
        """Tell what `$SYS` said last, at most about a second old."""
        values = self._watch.values
        reasons = () if self._watch.connected else ("mosquitto does not answer",)
        return Health(
            ready=not reasons,
            reasons=reasons,
            connections=values[_CONNECTED],
            sessions=values[_SESSIONS],
            queued=values[_QUEUED],
            dropped=values[_DROPPED],
        )

    async def stop(self) -> None:
        """Stop Mosquitto; it writes its sessions and queues before it ends."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def settings_user() -> str:
    """Tell who runs this, so that a Mosquitto started by root stays that user and can read its folder."""
    return getpass.getuser()


def _find(program: str) -> str:
    """Find a program on the PATH, or where Debian keeps daemons. Raises `FileNotFoundError`."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        raise FileNotFoundError(f"{program} is not installed; Debian: apt install mosquitto")
    return found
