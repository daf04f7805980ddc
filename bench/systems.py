"""What is measured: bare brokers that reflect the clients' packets, and Tidings whole.

Rules
- Every system is a real process on loopback, started for this run in a folder of its own and stopped by its pid.
- A bare broker has no tokens, no rules and no store: sender and partner subscribe to the very topics that are
  published. It is the floor, not a competitor: it promises nothing.
- Tidings is used through its public doors alone: the people register, and their codes come by the development inbox.
  The users' message limit is off (`TIDINGS_LIMITS_MESSAGES_A_MINUTE=0`), or 20 people would be measured at 100
  messages a minute each.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from app.listening import next_free
from bench.job import Seat
from tidings.protocol import ids, topics

HOST: Final = "127.0.0.1"
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
PHONE: Final = 4_930_500_000_000


class Running(NamedTuple):
    """A started system: where it listens, its clients' seats, its processes by name."""

    port: int
    seats: tuple[Seat, ...]
    pids: dict[str, int]


class Unavailable(Exception):
    """A system cannot be measured here; the text says why, in one line."""


class System(NamedTuple):
    """A system under the bench: a context manager takes an empty folder and the number of clients."""

    name: str
    title: str
    run: Callable[[Path, int], AbstractContextManager[Running]]


def seats_of_relay(count: int) -> tuple[Seat, ...]:
    """Seats for a bare broker: topics as long as ours, each pair subscribed to what its two members publish."""
    people = [_stranger(number) for number in range(count)]
    published = []
    for number, (user, device) in enumerate(people):
        conv = ids.direct_conversation(user, people[number ^ 1][0])
        published.append(topics.build(topics.Out(user, device, ids.lane_of(conv), conv, "msg")))
    return tuple(
        Seat(
            client_id=ids.client_id(user, device),
            username="",
            password="",
            topic=published[number],
            filters=(published[number], published[number ^ 1]),
            to=people[number ^ 1][0],
        )
        for number, (user, device) in enumerate(people)
    )


def _stranger(number: int) -> tuple[ids.UserId, ids.DeviceId]:
    entropy = random.Random(number).randbytes(11)
    return ids.make_user_id(entropy), ids.make_device_id(entropy)


@contextmanager
def mosquitto(folder: Path, clients: int) -> Iterator[Running]:
    """Mosquitto from the PATH, its queues unbounded so that it drops nothing. Raises `Unavailable`."""
    program = shutil.which("mosquitto")
    if program is None:
        raise Unavailable("mosquitto is not on the PATH (Debian: apt-get install mosquitto)")
    port = free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} {HOST}\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        "set_tcp_nodelay true\n"
    )
    with process([program, "-c", str(settings)], folder) as started:
        wait_for(lambda: listens(port), started, folder)
        yield Running(port, seats_of_relay(clients), {"broker": started.pid})


@contextmanager
def embedded(folder: Path, clients: int) -> Iterator[Running]:
    """Our embedded broker alone, open to all, without the bridge."""
    port = free_port()
    command = [sys.executable, "-m", "bench.open_broker", "--port", str(port), "--data", str(folder)]
    with process(command, folder) as started:
        wait_for(lambda: listens(port), started, folder)
        yield Running(port, seats_of_relay(clients), {"broker": started.pid})


@contextmanager
def tidings(folder: Path, clients: int) -> Iterator[Running]:
    """`tidings up`: broker, bridge, SQLite and API in one process."""
    ports = {name: free_port() for name in ("mqtt", "websocket", "http")}
    chosen = {f"TIDINGS_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    data = folder / "data"
    settings = {**chosen, "TIDINGS_DATA": str(data), "TIDINGS_LIMITS_MESSAGES_A_MINUTE": "0"}
    command = [str(Path(sys.executable).parent / "tidings"), "up", "--quiet"]
    with process(command, folder, settings) as started:
        url = f"http://{HOST}:{ports['http']}"
        wait_for(lambda: ready(url), started, folder)
        seats = register(url, data, clients)
        yield Running(ports["mqtt"], seats, {"broker + bridge + store": started.pid})


SYSTEMS: Final = (
    System("mosquitto", "Mosquitto, bare relay", mosquitto),
    System("embedded", "embedded broker, bare relay", embedded),
    System("tidings", "Tidings, whole", tidings),
)


def register(url: str, data: Path, count: int) -> tuple[Seat, ...]:
    """Register people by HTTP and tell their seats, in pairs."""
    with httpx.Client(base_url=url, timeout=10) as http:
        logins = [_register_one(http, data, f"+{PHONE + number}") for number in range(count)]
    devices = [login["mqtt"]["clientId"].split(":") for login in logins]
    return tuple(_seat(login, devices[number], devices[number ^ 1][0]) for number, login in enumerate(logins))


def _register_one(http: httpx.Client, data: Path, phone: str) -> dict[str, Any]:
    from app.cast import read_code

    begun = http.post("/api/auth/register", json={"phoneNumber": phone, "name": "Bench"}).raise_for_status().json()
    proof = {"verificationId": begun["verificationId"], "code": read_code(data, phone), "deviceName": "bench"}
    login: dict[str, Any] = http.post("/api/auth/verify-otp", json=proof).raise_for_status().json()
    return login


def _seat(login: dict[str, Any], own: list[str], partner: str) -> Seat:
    user, device = ids.user_id(own[0]), ids.device_id(own[1])
    conv = ids.direct_conversation(user, ids.user_id(partner))
    return Seat(
        client_id=login["mqtt"]["clientId"],
        username=login["mqtt"]["username"],
        password=login["token"],
        topic=topics.build(topics.Out(user, device, ids.lane_of(conv), conv, "msg")),
        filters=topics.device_subscriptions(user, device),
        to=partner,
    )


# Processes.


@contextmanager
def process(command: list[str], folder: Path, settings: dict[str, str] | None = None) -> Iterator["Started"]:
    """Start a process with its output in `folder/output`, and stop it by its pid. No setting of ours leaks in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    with (folder / "output").open("wb") as output:
        started = subprocess.Popen(
            command,
            env={**kept, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=Path(__file__).resolve().parent.parent,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


Started = subprocess.Popen[bytes]


def wait_for(condition: Callable[[], bool], started: Started, folder: Path) -> None:
    """Wait until a started process is ready. Raises `Unavailable` with the end of its output."""
    end = time.monotonic() + READY_SECONDS
    while not condition():
        if started.poll() is not None or time.monotonic() > end:
            said = (folder / "output").read_text(errors="replace").strip().splitlines()
            raise Unavailable(f"{Path(started.args[0]).name} did not start: {said[-1] if said else 'no output'}")  # type: ignore[index,arg-type]
        time.sleep(0.05)


def ready(url: str) -> bool:
    """Whether `/readyz` says yes."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def listens(port: int) -> bool:
    """Whether something accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """Find a free port below the ephemeral range."""
    return next_free(HOST, random.randrange(20_000, 31_000))
