"""What deciding can come to: entries to commit, a repeat, or a question to the store first. Refusals are raised."""

from msgspec import Struct

from stores.ports.entries import IdKey, MarkMove, Member, Row


class Settings(Struct, frozen=True):
    """A conversation's settings as they stand after a decision."""

    name: str = ""
    description: str = ""
    history: bool = True


class Decision(Struct, frozen=True):
    """What is to be committed: rows with the next numbers, members as they stand after them, watermark moves.

    `seq` is the entry that carries out the request, 0 when nothing was needed."""

    rows: tuple[Row, ...] = ()
    members: tuple[Member, ...] = ()
    marks: tuple[MarkMove, ...] = ()
    settings: Settings | None = None
    seq: int = 0


class Repeat(Struct, frozen=True):
    """This was said before, and has this number."""

    seq: int


class NeedId(Struct, frozen=True):
    """Undecided: look this key up in the index, then decide again."""

    key: IdKey


class NeedRows(Struct, frozen=True):
    """Undecided: look up which of `low … high` are hidden from whom, then decide again."""

    low: int
    high: int


Verdict = Decision | Repeat | NeedId | NeedRows

NOTHING = Decision()
"""Nothing to do: the request is already true."""
