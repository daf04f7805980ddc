"""Real processes for tests: free ports below 32768 and a `tidings up` in a folder of its own.

Rules: every process is stopped by who started it, by pid; ports are asked of the kernel at random, so that tests
may run side
by side; waiting is for a condition, with a bound, never for a time.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent


def free_port() -> int:
    """Find a free port in 20000–32000."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class TidingsUp:
    """One `tidings up` on free ports; `data` stays over restarts."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.ports = {name: free_port() for name in ("mqtt", "websocket", "http")}
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def output(self) -> str:
        """Everything that the process has printed so far, over all its starts."""
        log = self.data.parent / f"{self.data.name}.log"
        return log.read_text() if log.exists() else ""

    def environment(self) -> dict[str, str]:
        """The environment of the process: no setting of the surrounding shell leaks in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        chosen = {f"TIDINGS_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        more = {f"TIDINGS_{name.upper()}": value for name, value in self.settings.items()}
        return {**kept, **chosen, "TIDINGS_DATA": str(self.data), "PYTHONUNBUFFERED": "1", **more}

    def start(self, *, within: float = 30.0, arguments: tuple[str, ...] = ("--quiet",)) -> "TidingsUp":
        """Start and wait until `/readyz` is green."""
        log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen(
            [BIN / "tidings", "up", *arguments],
            env=self.environment(),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        until(self.is_ready, within=within, what="/readyz", because=lambda: self.output[-3000:])
        return self

    def is_ready(self) -> bool:
        """Whether `/readyz` says yes; an ended process is an error."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"tidings up ended with {self.process.returncode}:\n{self.output[-3000:]}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self, sign: int = signal.SIGTERM, *, within: float = 10.0) -> int:
        """Signal the process and wait for its end; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(sign)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)


def until(condition, *, within: float, what: str, because=lambda: "") -> None:  # type: ignore[no-untyped-def]
    """Wait until the condition holds; fail after `within` seconds, telling what was awaited."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within} s\n{because()}")
        time.sleep(0.02)
