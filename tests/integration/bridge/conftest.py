"""A Mosquitto of its own for each test that asks for its `port`."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Run a Mosquitto that drops nothing; tell its port."""
    if MOSQUITTO is None:
        pytest.skip("needs Debian's mosquitto on the PATH: apt-get install mosquitto")
    number = free_port()
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(
        f"listener {number} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        "log_type error\n"
    )
    server = subprocess.Popen([MOSQUITTO, "-c", str(settings)])
    try:
        _until_it_listens(number, server)
        yield number
    finally:
        server.terminate()
        server.wait(10)


def _until_it_listens(number: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(1_000):
        assert server.poll() is None, "mosquitto ended"
        try:
            socket.create_connection(("127.0.0.1", number), 0.2).close()
        except OSError:
            _pause(server)
        else:
            return
    raise AssertionError("mosquitto does not listen")


def _pause(server: "subprocess.Popen[bytes]") -> None:
    """Wait a moment, or until the server ends."""
    try:
        server.wait(0.01)
    except subprocess.TimeoutExpired:
        return
