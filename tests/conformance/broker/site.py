"""A broker under trial in a process of its own, and what a test can do to it: restart, kill -9, kick, ask.

The suite knows a broker by this alone; everything else goes over MQTT.
"""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from broker.port import Health, Limits
from tests.processes import free_port

PATIENCE = 8.0
"""Seconds that a test waits for what must come."""
LIMITS = Limits(
    packet_bytes=64 * 1024,
    connect_timeout=1.0,
    inflight=20,
    queue_messages=300,
    publish_rate=400.0,
    publish_burst=1_500,
)
"""Small, so that each limit can be reached in a test."""


def _allow_files() -> None:
    """Let this process and its children hold a thousand connections; macOS begins with 256 files, Linux with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8_192 if hard == resource.RLIM_INFINITY else min(8_192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Site:
    """One broker: `kind` is "embedded", "mosquitto" or "amqtt"; `folder` keeps its data over restarts."""

    def __init__(self, kind: str, folder: Path, limits: Limits = LIMITS, **order) -> None:
        self.kind = kind
        self.limits = limits
        self.host = "127.0.0.1"
        self.patience = PATIENCE
        self.port = free_port()
        self.websocket = free_port()
        self._order = {
            "kind": kind,
            "folder": str(folder),
            "mqtt": self.port,
            "websocket": self.websocket,
            "limits": msgspec.to_builtins(limits),
            **order,
        }
        self._log = folder.parent / f"{folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._pids: list[int] = []

    def start(self) -> "Site":
        """Start the broker and wait until it listens."""
        _allow_files()
        command = [sys.executable, "-m", "tests.conformance.broker.host", msgspec.json.encode(self._order).decode()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._pids = self._answer()["pids"]
        return self

    def stop(self) -> None:
        """Stop the broker cleanly. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"{self.kind} did not stop:\n{self.output()}") from None

    def kill(self) -> None:
        """kill -9, of everything that is the broker."""
        process, self._process = self._process, None
        for pid in (*self._pids, process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def restart(self) -> None:
        """Stop cleanly, and start again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process, as an overloaded machine does."""
        for pid in (*self._pids, self._process.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for pid in (*self._pids, self._process.pid):
            os.kill(pid, signal.SIGCONT)

    def kick(self, client: str, *, forget: bool = False) -> None:
        """Ask the port to disconnect a client."""
        self._do(do="kick", client=client, forget=forget)

    def health(self) -> Health:
        """Ask the port how it is."""
        return msgspec.convert(self._do(do="health"), Health)

    def memory(self) -> int:
        """Tell how much memory the broker's processes hold now, in bytes."""
        return sum(psutil.Process(pid).memory_info().rss for pid in (*self._pids, self._process.pid))

    def revoke(self, **what) -> None:
        """Tell the gate that something is revoked."""
        self._do(do="revoke", **what)

    def output(self) -> str:
        """The end of what the process has logged."""
        return self._log.read_text()[-4000:]

    def _do(self, **command):
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.kind} ended:\n{self.output()}")
        return msgspec.json.decode(line)
