"""`broker.port.Broker` over a Mosquitto of one's own: a child process with its folder, and our plugin in it.

Rules
- The process is ours: it is started, watched and stopped here, and nobody else's is touched. One that ends by itself is
  started again; one whose parent has ended ends too (the plugin sees to it).
- What the plugin must know lies in two files (`control.py`), written again within `_TELL_SECONDS` of a change.
- After `admit` the plugin lets devices in as soon as every bridge of `groups` has subscribed, at this start and after
  every crash alike.
"""

import asyncio
import contextlib
import getpass
import logging
import os
import secrets
import shutil
import signal
from typing import Final

from acl import jwks
from acl.keys import KeySet
from acl.private import write_private
from acl.revocations import Revocations
from broker.mosquitto import control
from broker.mosquitto.configuration import Settings, configuration
from broker.mosquitto.control import OPERATOR, Control, digest_of
from broker.mosquitto.operator import Door, Watch, kick
from broker.port import Endpoints, Health
from tidings.protocol.ids import Group

READY_WITHIN: Final = 10.0
"""Seconds until a started Mosquitto must listen."""
STOP_WITHIN: Final = 5.0
_TELL_SECONDS: Final = 0.2
_AGAIN_SECONDS: Final = 0.2
_CONNECTED: Final = "$SYS/broker/clients/connected"
_SESSIONS: Final = "$SYS/broker/clients/total"
_QUEUED: Final = "$SYS/broker/store/messages/count"
_DROPPED: Final = "$SYS/broker/publish/messages/dropped"

log: Final = logging.getLogger(__name__)


class MosquittoBroker:
    """A Mosquitto started from the PATH. `keys` verify tokens (only their public halves leave this process),
    `revocations` is a snapshot that somebody else refreshes, `groups` whose bridges there must be."""

    def __init__(
        self,
        settings: Settings,
        keys: KeySet,
        revocations: Revocations,
        groups: tuple[Group, ...] = (),
        *,
        executable: str = "mosquitto",
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._revocations = revocations
        self._groups = groups
        self._secret = secrets.token_urlsafe(24)
        self._executable = executable
        self._admitted = False
        self._told: Control | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._door = Door(settings.host, settings.mqtt, OPERATOR, self._secret.encode())
        self._watch = Watch(self._door, (_CONNECTED, _SESSIONS, _QUEUED, _DROPPED))
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        """The child's process id, 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> Endpoints:
        """Start Mosquitto and wait until it answers. Raises `OSError` when it is not installed or a port is taken."""
        settings = self._settings
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(settings.folder / control.JWKS, jwks.encode(self._keys), durable=False)
        self._tell()
        settings.configuration.write_text(configuration(settings, os.getpid()))
        await self._launch()
        await self._until_it_listens()
        self._tasks = [asyncio.create_task(work()) for work in (self._keep_alive, self._keep_telling, self._look)]
        return Endpoints(settings.host, settings.mqtt, websocket=settings.websocket)

    def admit(self) -> None:
        """Let devices in, as soon as every bridge has subscribed."""
        self._admitted = True
        self._tell()

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        """Disconnect a client by taking its connection over; `forget` deletes its session."""
        self._tell()  # first: who is revoked must not be back before the plugin knows
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
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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

    def _tell(self) -> None:
        """Write the control, if it is not what was told last."""
        version = self._revocations.version
        told = self._told
        if told is not None and (told.admitted, told.version) == (self._admitted, version or 0):
            return
        self._told = Control(
            admitted=self._admitted,
            operator=digest_of(self._secret),
            version=version or 0,
            groups=self._groups,
            revocations=tuple(self._revocations.listed()),
        )
        write_private(self._settings.folder / control.CONTROL, control.encode(self._told), durable=False)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            try:
                self._tell()
            except OSError as error:
                self._told = None
                log.warning("mosquitto cannot be told of revocations: %s", error)

    async def _launch(self) -> None:
        program = _find(self._executable)
        # A session of its own: the terminal's Ctrl-C is for us, who drain before Mosquitto ends.
        self._process = await asyncio.create_subprocess_exec(
            program, "-c", str(self._settings.configuration), start_new_session=True
        )

    async def _until_it_listens(self) -> None:
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN):
                while self._process.returncode is None:
                    with contextlib.suppress(OSError):
                        async with self._door.enter(OPERATOR, clean=True):
                            return
                    await asyncio.sleep(0.02)
        await self.stop()
        raise OSError(f"mosquitto does not listen on {self._settings.host}:{self._settings.mqtt}; see its output above")

    async def _keep_alive(self) -> None:
        while self._process is not None:
            status = await self._process.wait()
            log.error("mosquitto ended with %s; it is started again", status)
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                await self._launch()
            except OSError as error:
                log.error("mosquitto cannot be started: %s", error)

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._watch.run()
            await asyncio.sleep(_AGAIN_SECONDS)


def settings_user() -> str:
    """Tell who runs this, so that a Mosquitto started by root stays that user and can read its folder."""
    return getpass.getuser()


def _find(program: str) -> str:
    """Find a program on the PATH, or where Debian keeps daemons. Raises `FileNotFoundError`."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        raise FileNotFoundError(f"{program} is not installed; Debian: apt install mosquitto")
    return found
