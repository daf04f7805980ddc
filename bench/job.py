"""What the bench tells its load generator, and what the generator answers: JSON lines over its pipes.

Rules: a generator reads one `Job`, then writes one line for each `Began` and `Ended`; whoever started it reads the
processes' CPU clocks at those lines, so that only the measured seconds count.
"""

from msgspec import Struct

from bench.samples import Latency


class Seat(Struct, frozen=True):
    """One client: how it connects, what it subscribes, where it publishes and what it says besides id and body."""

    client_id: str
    username: str
    password: str
    topic: str
    filters: tuple[str, ...]
    to: str


class Phase(Struct, frozen=True):
    """One measurement. `rate` messages/s of all clients together, 0: closed loop with `window` a client. `seconds`
    are measured after `warm_up` s; `most` bounds the messages."""

    name: str
    rate: float
    seconds: float
    warm_up: float
    window: int
    most: int = 300_000


class Job(Struct, frozen=True):
    """All that a generator does: these clients, against this address, phase by phase; `body` bytes of text each."""

    host: str
    port: int
    seats: tuple[Seat, ...]
    phases: tuple[Phase, ...]
    body: int


class Began(Struct, frozen=True, tag="began"):
    """The measured seconds of a phase begin."""

    phase: str


class Ended(Struct, frozen=True, tag="ended"):
    """The measured seconds are over, now."""

    phase: str


class Tallied(Struct, frozen=True, tag="tallied"):
    """What a phase came to. Rates count arrivals within the measured `seconds`; latencies are of every message that
    was due within them, whenever it arrived; `missing` copies (of two a message) never came, `repeated` ones came
    again, `refused` got an error instead (`refusal`: the first one's text). `cpu` seconds of the generator; `late`
    how far behind its due moment the generator itself sent."""

    phase: str
    seconds: float
    sent: int
    acknowledged: int
    delivered: int
    acknowledge: Latency
    deliver: Latency
    late: Latency
    missing: int
    repeated: int
    refused: int
    refusal: str
    cpu: float


class Failed(Struct, frozen=True, tag="failed"):
    """The generator cannot go on, and why, in one line."""

    why: str


Line = Began | Ended | Tallied | Failed
