"""`tidings up` and `tidings demo`: start the house, show it at work, keep it until told to stop.

Rules
- Bad settings, a taken port, an unusable folder or store end in one line and exit status 2.
- A signal, at whatever moment, drains and ends with 0 (`up`) or 130 (`demo`); see `app.interrupts`.
- Nobody need listen: when standard output is closed, the server stays up and says no more.
"""

import asyncio
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from app.background import kept_running
from app.cast import ALICE, BOB, PROFILES, log_in
from app.clock import now_ms
from app.folder import FolderUnusable, held_folder
from app.house import House
from app.interrupts import until_signal
from app.listening import PortTaken, choose_ports, next_free
from app.logging import set_up_logging
from app.obstacles import Obstacle
from app.paste import lines
from app.settings import BadSettings, Settings, load_settings
from app.transcript import Failed, Transcript
from tidings import profile as profiles
from tidings.profile import ProfileError
from tidings.protocol.errors import Refusal

DRAIN_SECONDS: Final = 4.8
"""A stop takes at most 5 s, the process's own end included."""
_FILES: Final = 65_536
"""Open files that a server asks for: one a connection, and some; systems give 256 or 1,024 unless asked."""
_INTERRUPTED: Final = 130


def run(*, quiet: bool) -> int:
    """Run until a signal; returns the exit status. What it writes is its user's alone."""
    os.umask(0o077)
    _allow_files()
    return _guarded(lambda: _up(load_settings(), quiet=quiet), interrupted=0)


def run_demo() -> int:
    """Play the transcript on free ports and a temporary folder; returns the exit status."""

    async def demo() -> int:
        with tempfile.TemporaryDirectory(prefix="tidings-demo-") as folder:
            # Two demonstrations at once look from different places, or one would take what the other has chosen.
            first = next_free("127.0.0.1", 20_000 + os.getpid() * 37 % 10_000)
            second = next_free("127.0.0.1", first + 1)
            third = next_free("127.0.0.1", second + 1)
            settings = load_settings(data=Path(folder), mqtt_port=first, websocket_port=second, http_port=third)
            async with House(settings, choose_ports(settings)[0]) as house:
                return await _play(house)

    return _guarded(demo, interrupted=_INTERRUPTED)


async def _up(settings: Settings, *, quiet: bool) -> int:
    set_up_logging(settings.log_level, settings.log_format)
    with held_folder(settings.data):
        ports, notes = choose_ports(settings)
        for note in notes:
            _say(note)
        async with House(settings, ports) as house:
            _say(f"MQTT {settings.host}:{ports['mqtt_port']}  WebSocket {settings.host}:{ports['websocket_port']}/mqtt")
            _say(f"HTTP {house.url}  data {settings.data}")
            if not quiet:
                async with kept_running(_greet(house)):
                    await _for_ever()
            await _for_ever()
    return 0


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _greet(house: House) -> None:
    """Play the transcript, then print the lines; a failure is told, and the server stays up."""
    if await _play(house) == 0:
        server, data = house.url, house.settings.data
        for account in ("alice", "bob"):
            # What the transcript showed is history to `tidings listen`.
            profiles.begin_now(account, now_ms(), data / PROFILES)
        try:
            alice = await log_in(server, data, ALICE, "alice-mosquitto")
            bob = await log_in(server, data, BOB, "bob-mosquitto")
        except (Refusal, LookupError, ProfileError) as error:
            _say(f"no lines to paste: {error}")
        else:
            for line in lines(server, data, alice, bob):
                _say(f"\n# {line}" if line.endswith(":") else line)
    _say("\nPress Ctrl-C to stop.")


async def _play(house: House) -> int:
    try:
        await Transcript(house.url, house.settings.data, _say).play()
    except Failed as error:
        print(f"tidings: {error}", file=sys.stderr)
        return 1
    return 0


def _guarded(main: Callable[[], Coroutine[Any, Any, int]], *, interrupted: int) -> int:
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    try:
        with runner:
            return runner.run(until_signal(main(), drain=DRAIN_SECONDS, interrupted=interrupted))
    except (BadSettings, PortTaken, FolderUnusable, Obstacle) as error:
        print(f"tidings: {error}", file=sys.stderr)
        return 2


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # `tidings up | head -1`: whoever read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
