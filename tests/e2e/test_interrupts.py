"""Signals and a closed standard output, at awkward moments."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import BIN, TidingsUp, until

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TidingsUp]:
    one = TidingsUp(tmp_path / "data")
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def launch(server: TidingsUp, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [BIN / "tidings", *arguments], env=server.environment(), stdout=pipe, stderr=pipe, text=True, bufsize=1
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start(server: TidingsUp, sign: signal.Signals) -> None:
    process = launch(server, "up", "--quiet")
    until((server.data / "log.db").exists, within=30, what="the start")
    process.send_signal(sign)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, ""), out


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_transcript(server: TidingsUp, sign: signal.Signals) -> None:
    process = launch(server, "up")
    assert process.stdout is not None
    next(line for line in process.stdout if "writes to Bob" in line)
    process.send_signal(sign)
    _, err = process.communicate(timeout=5)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_demo_leaves_no_folder(server: TidingsUp, tmp_path: Path, sign: signal.Signals) -> None:
    environment = server.environment() | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [BIN / "tidings", "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    next(line for line in process.stdout if "registered" in line)
    process.send_signal(sign)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tidings-demo")]


def test_a_second_ctrl_c_ends_at_once(server: TidingsUp) -> None:
    server.start()
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # both signals wait for it, whatever the drain would take
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(5) in (0, 1)
    assert "Traceback" not in server.output
    server.start()


def test_a_closed_standard_output_does_not_stop_the_server(server: TidingsUp) -> None:
    process = launch(server, "up")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    until(lambda: _ready(server), within=30, what="/readyz")
    until((server.data / "profiles" / "bob-mosquitto.json").exists, within=30, what="the end of the transcript")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_the_server_asks_for_open_files(server: TidingsUp) -> None:
    server.start()
    assert server.process is not None
    limits = Path(f"/proc/{server.process.pid}/limits")
    if not limits.exists():
        pytest.skip("/proc tells a process's limits on Linux alone")
    [line] = [one for one in limits.read_text().splitlines() if one.startswith("Max open files")]
    soft, hard = (int(one) for one in line.split()[3:5])
    assert soft >= min(hard, 65_536)


def _ready(server: TidingsUp) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
