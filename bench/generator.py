"""The load generator: a process of its own, started by the bench with a `Job` on its standard input.

Rules
- Open loop: a thread sleeps to the next due moment (an event loop's timers are a millisecond coarse) and hands all
  that is due to the loop. Message `k` of a phase is due at `k / rate`, from client `k mod clients`, whatever has
  been answered by then.
- Closed loop: every client begins with a full window, and each copy that comes back makes the next message due.
- Warm-up and drain are sent like all else, but not counted.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable
from itertools import chain
from secrets import token_hex
from time import perf_counter
from typing import Final

import msgspec
from msgspec import Struct

from bench.client import WHOLE, Client
from bench.job import Began, Ended, Failed, Job, Line, Phase, Tallied
from bench.samples import latency

CONNECT_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 10.0
_ENCODER: Final = msgspec.json.Encoder()


class Span(Struct, frozen=True):
    """The measured part of a phase, in `perf_counter` seconds."""

    begin: float
    end: float


def main() -> int:
    """Read the job, run it, tell about it. Exit status 1 when a client could not connect."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(job))
    except (OSError, TimeoutError) as error:
        tell(Failed(str(error) or type(error).__name__))
        return 1
    return 0


def tell(line: Line) -> None:
    """Write one line to whoever started us."""
    sys.stdout.buffer.write(_ENCODER.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(job: Job) -> None:
    clients = await _connect(job)
    for phase in job.phases:
        await _measure(phase, clients)
    for client in clients:
        client.close()
    await asyncio.sleep(0)


async def _connect(job: Job) -> list[Client]:
    clients: list[Client] = []
    loop, run, body = asyncio.get_running_loop(), token_hex(6), "x" * job.body
    async with asyncio.timeout(CONNECT_SECONDS):
        for number, seat in enumerate(job.seats):
            client = Client(run, number, seat, body, clients)
            await loop.create_connection(lambda client=client: client, job.host, job.port)  # type: ignore[misc]
            clients.append(client)
        await asyncio.gather(*(client.ready for client in clients))
    return clients


async def _measure(phase: Phase, clients: list[Client]) -> None:
    first = [len(client.sent.due) for client in clients]
    for client in clients:
        client.window = phase.window
        client.refused = client.sent.repeated = 0
    start = perf_counter() + 0.05
    span = Span(start + phase.warm_up, start + phase.warm_up + phase.seconds)
    sending = asyncio.create_task(_send(phase, clients, start, span.end))
    await _sleep_until(span.begin)
    tell(Began(phase.name))
    cpu = time.process_time()
    await _sleep_until(span.end)
    cpu = time.process_time() - cpu
    tell(Ended(phase.name))
    await sending
    await _drain(clients, first)
    tell(tally(phase, clients, first, span, cpu))


async def _send(phase: Phase, clients: list[Client], start: float, end: float) -> None:
    if phase.rate:
        await _open_loop(phase, clients, start, end)
    else:
        await _closed_loop(phase, clients, end)


async def _closed_loop(phase: Phase, clients: list[Client], end: float) -> None:
    now, before = perf_counter(), sum(len(client.sent.due) for client in clients)
    for client in clients:
        client.closed_loop = True
        client.waiting.extend([now] * phase.window)
        client.flush(now)
    while perf_counter() < end and sum(len(client.sent.due) for client in clients) - before < phase.most:
        await asyncio.sleep(0.05)
    for client in clients:
        client.closed_loop = False
        client.waiting.clear()


async def _open_loop(phase: Phase, clients: list[Client], start: float, end: float) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    count = min(round((end - start) * phase.rate), phase.most)

    def hand_over(first: int, last: int) -> None:
        now = perf_counter()
        for number in range(first, last):
            client = clients[number % len(clients)]
            client.waiting.append(start + number / phase.rate)
            client.flush(now)
        if last == count:
            done.set()

    def beat() -> None:
        number = 0
        while number < count:
            time.sleep(max(start + number / phase.rate - perf_counter(), 0))
            last = min(int((perf_counter() - start) * phase.rate) + 1, count)
            if last > number:
                loop.call_soon_threadsafe(hand_over, number, last)
                number = last

    metronome = threading.Thread(target=beat, daemon=True)
    metronome.start()
    await done.wait()
    metronome.join()


async def _sleep_until(moment: float) -> None:
    while (left := moment - perf_counter()) > 0:
        await asyncio.sleep(left)


async def _drain(clients: list[Client], first: list[int]) -> None:
    """Wait until every message has come back and was delivered, or `DRAIN_SECONDS` have passed."""
    end = perf_counter() + DRAIN_SECONDS
    while perf_counter() < end and any(map(_is_open, clients, first)):
        await asyncio.sleep(0.02)
    for client in clients:
        client.waiting.clear()
        client.back = len(client.sent.due)  # what never came takes no room from the next phase


def _is_open(client: Client, first: int) -> bool:
    state = client.sent.state
    return bool(client.waiting) or state.count(WHOLE, first) < len(state) - first


def tally(phase: Phase, clients: list[Client], first: list[int], span: Span, cpu: float) -> Tallied:
    """Sum a phase up: of each client, the messages from number `first` on."""
    sent = [client.sent for client in clients]
    mine = [slice(number, None) for number in first]
    due = list(chain.from_iterable(one.due[part] for one, part in zip(sent, mine, strict=True)))
    left = list(chain.from_iterable(one.left[part] for one, part in zip(sent, mine, strict=True)))
    acked = list(chain.from_iterable(one.acknowledged[part] for one, part in zip(sent, mine, strict=True)))
    arrived = list(chain.from_iterable(one.delivered[part] for one, part in zip(sent, mine, strict=True)))
    return Tallied(
        phase=phase.name,
        seconds=span.end - span.begin,
        sent=_within(left, span),
        acknowledged=_within(acked, span),
        delivered=_within(arrived, span),
        acknowledge=latency(_since(due, acked, span)),
        deliver=latency(_since(due, arrived, span)),
        late=latency(_since(due, left, span)),
        missing=acked.count(0.0) + arrived.count(0.0),
        repeated=sum(one.repeated for one in sent),
        refused=sum(client.refused for client in clients),
        refusal=next((client.refusal for client in clients if client.refusal), ""),
        cpu=cpu,
    )


def _within(moments: Iterable[float], span: Span) -> int:
    return sum(span.begin <= moment < span.end for moment in moments)


def _since(due: list[float], came: list[float], span: Span) -> list[float]:
    pairs = zip(due, came, strict=True)
    return [moment - start for start, moment in pairs if span.begin <= start < span.end and moment]


if __name__ == "__main__":
    sys.exit(main())
