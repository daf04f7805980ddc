"""`check_broker`: what every broker must keep, as cases over MQTT.

Rules
- A case is a function of one `Trial`; it knows the broker only through clients and through its `Site`.
- `needs` names what not every broker has ("mqtt5", "durable" …); the table of a broker says what it lacks and why.
- `own` cases stop or kill the broker, so they have one of their own; all others share one, under names of their own.
- A broker's known failures are a table too (`failures.py`): a listed case must fail, and one that passes again is a
  fault of the table. docs/brokers.md is written from these tables.
"""

import secrets
from collections.abc import Callable
from typing import NamedTuple

from tests.conformance.broker.clients import Peer, Wire


class Case(NamedTuple):
    """One thing that a broker must keep. Its docstring is the promise."""

    name: str
    run: Callable[["Trial"], None]
    needs: frozenset[str]
    own: bool
    slow: bool
    limits: dict[str, int]

    @property
    def promise(self) -> str:
        """The promise in one line."""
        return " ".join((self.run.__doc__ or "").split())


CASES: dict[str, Case] = {}


def case(*needs: str, own: bool = False, slow: bool = False, **limits: int):
    """Add a function to the suite. With `limits` it has a broker of its own, of these limits."""

    def add(run):
        name = run.__name__
        assert name not in CASES, name
        CASES[name] = Case(name, run, frozenset(needs), own or bool(limits), slow, limits)
        return run

    return add


class Trial:
    """One run of a case: names that nobody else uses, and clients that are closed at its end."""

    def __init__(self, site) -> None:
        self.site = site
        self.prefix = "t" + secrets.token_hex(4)
        self._opened = []

    def name(self, word: str) -> str:
        """Make a client id of this run."""
        return f"{self.prefix}-{word}"

    def topic(self, *levels: str) -> str:
        """Make a topic, or a filter, of this run."""
        return "/".join((self.prefix, *levels))

    def peer(self, word: str, **options) -> Peer:
        """Make a paho client; it is not connected yet."""
        peer = Peer(self.site, self.name(word) if word else "", **options)
        self._opened.append(peer.cut)
        return peer

    def connected(self, word: str, **options) -> Peer:
        """Make a paho client that is connected."""
        return self.peer(word, **options).connect()

    def wire(self, word: str = "", *, level: int = 4, **fields) -> Wire:
        """Open a raw connection; with a word it is connected under that name."""
        wire = Wire(self.site, level)
        self._opened.append(wire.close)
        if word:
            assert wire.connect(self.name(word), **fields).reason_code.value == 0
        return wire

    def end(self) -> None:
        """Close everything."""
        for close in self._opened:
            close()


def check_broker(case: Case, site) -> None:
    """Try one promise on one broker. Raises `AssertionError` where it is not kept."""
    trial = Trial(site)
    try:
        case.run(trial)
    finally:
        trial.end()
