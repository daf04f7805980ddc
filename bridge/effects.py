"""What a lane group asks of the world: the whole list of its effects, and the moments it is told.

Rules
- A lane group never does I/O: it gives effects, the owner carries them out and tells the results.
- Effects are values. A retried effect is the same value, so a retried commit is the same bytes.
"""

from typing import NamedTuple

from msgspec import Struct

from bridge.asking import Question
from stores.ports.deadletters import DeadLetter
from stores.ports.entries import IdKey, JournalEntry
from tidings.protocol.ids import ConvId, UserId
from tidings.protocol.link import Handle, Outbound


class Moment(NamedTuple):
    """Now, twice: `wall` is ms since 1970 UTC, for what is stored, and may jump; `steady` is ms of a clock that only
    goes forward, for time-outs and rates."""

    wall: int
    steady: int


class Load(Struct, frozen=True):
    """Load a conversation with its ids of `at >= ids_since`; answer with `loaded`."""

    conv: ConvId
    ids_since: int


class FindId(Struct, frozen=True):
    """Look an id up in the index; answer with `found_id`."""

    key: IdKey


class FindRow(Struct, frozen=True):
    """Read one row; answer with `found_row`."""

    conv: ConvId
    seq: int


class FindHidden(Struct, frozen=True):
    """Find out which rows of `low … high` are hidden from whom; answer with `found_hidden`."""

    conv: ConvId
    low: int
    high: int


class AskPeople(Struct, frozen=True):
    """Ask the directory about users; answer with `told_people`."""

    users: frozenset[UserId]


class Commit(Struct, frozen=True):
    """Commit this entry, again and again until the outcome is known; answer with `committed`."""

    entry: JournalEntry


class Keep(Struct, frozen=True):
    """Keep dead letters; answer with `kept` after they are durable."""

    letters: tuple[DeadLetter, ...]


class Publish(Struct, frozen=True):
    """Publish, in order; answer with `published(number)` when the broker has answered all. When the link is lost
    meanwhile, answer nothing: it is given again, under a new number, after `connected`."""

    messages: tuple[Outbound, ...]
    number: int


class Tell(Struct, frozen=True):
    """Publish at QoS 0, now; nobody waits for it."""

    messages: tuple[Outbound, ...]


class Ack(Struct, frozen=True):
    """Acknowledge inbound messages."""

    handles: tuple[Handle, ...]


class Answer(Struct, frozen=True):
    """Find the answer to a device's question; answer with `answered`."""

    question: Question


class LookAt(Struct, frozen=True):
    """Ask what may be told of these users' presence; answer with `looked_at`."""

    watcher: UserId
    users: tuple[UserId, ...]


class KeepSeen(Struct, frozen=True):
    """Keep last-seen times (ms). Nobody waits for it; a lost one costs precision only."""

    seen: dict[UserId, int]


class GiveUp(Struct, frozen=True):
    """Stop: this owner has a successor. Nothing may be published or acknowledged any more."""

    reason: str


Effect = (
    Load
    | FindId
    | FindRow
    | FindHidden
    | AskPeople
    | Commit
    | Keep
    | Publish
    | Tell
    | Ack
    | Answer
    | LookAt
    | KeepSeen
    | GiveUp
)
