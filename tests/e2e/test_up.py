"""`tidings up` and `tidings demo` as a newcomer meets them."""

import re
import shlex
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.processes import BIN, TidingsUp, free_port, until

pytestmark = pytest.mark.slow


def run(line: str, environment: dict[str, str], *, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def test_demo_prints_the_transcript_and_exits_0(tmp_path: Path) -> None:
    environment = TidingsUp(tmp_path / "unused").environment() | {"TMPDIR": str(tmp_path)}
    done = run(f"{BIN}/tidings demo", environment, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    for fact in ("Alice", "Bob", "delivered", "read", "group"):
        assert fact in done.stdout, fact
    assert "Traceback" not in done.stdout + done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tidings")], "the folder is left behind"


@pytest.fixture
def greeted(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A `tidings up` that has printed its transcript and its lines."""
    server = TidingsUp(tmp_path / "data")
    server.start(arguments=())
    until(lambda: "Ctrl-C" in server.output, within=60, what="the lines", because=lambda: server.output)
    yield server
    server.stop()


def pasted(server: TidingsUp, start: str) -> str:
    found = [line.strip() for line in server.output.splitlines() if line.strip().startswith(start)]
    assert found, f"no line begins with {start!r}:\n{server.output}"
    return found[0]


def test_the_printed_lines_work_when_pasted(greeted: TidingsUp) -> None:
    environment = greeted.environment() | {"PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin"}
    listen = pasted(greeted, "TIDINGS_HOME=") + " --count 1 --json"
    assert "tidings listen --as bob" in listen
    listener = subprocess.Popen(["bash", "-c", listen], env=environment, stdout=subprocess.PIPE, text=True)
    send = next(line.strip() for line in greeted.output.splitlines() if "tidings send --as alice bob" in line)
    sent = run(send, environment)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    out, _ = listener.communicate(timeout=30)
    assert "hi" in out
    registered = run(pasted(greeted, "curl"), environment)
    assert registered.returncode == 0, registered.stderr
    assert "verificationId" in registered.stdout


@pytest.mark.mosquitto
def test_two_stock_clients_talk_by_the_printed_lines(greeted: TidingsUp) -> None:
    environment = greeted.environment() | {"PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin"}
    subscribe = [*shlex.split(pasted(greeted, "mosquitto_sub")), "-C", "1", "-W", "20"]
    listener = subprocess.Popen(subscribe, env=environment, stdout=subprocess.PIPE, text=True)
    published = run(pasted(greeted, "mosquitto_pub"), environment)
    assert published.returncode == 0, published.stderr
    out, _ = listener.communicate(timeout=30)
    assert "/in/msg" in out
    assert '"seq"' in out


def test_ctrl_c_stops_within_5_s_and_data_is_there_at_the_next_start(greeted: TidingsUp) -> None:
    assert greeted.stop(signal.SIGINT, within=5) == 0
    greeted.start(arguments=())
    until(lambda: greeted.output.count("Ctrl-C") == 2, within=60, what="lines again", because=lambda: greeted.output)


def test_a_taken_port_that_was_asked_for_ends_in_one_line(tmp_path: Path, greeted: TidingsUp) -> None:
    other = TidingsUp(tmp_path / "other")
    other.ports["mqtt"] = greeted.ports["mqtt"]
    done = run(f"{BIN}/tidings up", other.environment())
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"tidings: port \d+ \(TIDINGS_MQTT_PORT\) is taken; .*\n", done.stderr)


def test_a_taken_default_port_is_replaced(tmp_path: Path) -> None:
    environment = TidingsUp(tmp_path / "data").environment()
    del environment["TIDINGS_HTTP_PORT"]
    port = 8080
    blocker = subprocess.Popen(
        ["python3", "-m", "http.server", "-b", "127.0.0.1", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        process = subprocess.Popen(
            [BIN / "tidings", "up", "--quiet"], env=environment, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http_port is" in line)
        replaced = int(line.split()[-1])
        until(lambda: _ready(replaced), within=20, what="/readyz on the replaced port")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        blocker.kill()
        blocker.wait()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_data_folder_in_use_ends_in_one_line(tmp_path: Path, greeted: TidingsUp) -> None:
    environment = greeted.environment()
    for name in ("MQTT", "WEBSOCKET", "HTTP"):
        environment[f"TIDINGS_{name}_PORT"] = str(free_port())
    done = run(f"{BIN}/tidings up", environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "another server uses the data folder" in done.stderr
