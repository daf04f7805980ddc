"""What one member may see of a conversation's log: the one rule for history over HTTP and over MQTT.

Rules
- Every number asked is answered. An entry outside the member's windows, hidden from the member at commit, or deleted is
  a tombstone: its number and nothing else (promise 2).
- An entry that points at another (`data.target`) which the member may not see is a tombstone as well.
- A row that the store does not have is answered as a tombstone too and told in `missing`: for the caller to raise
  alarm.
- Pure; the bytes of a visible entry are the stored ones, unchanged.
"""

from collections.abc import Iterable
from typing import NamedTuple

from stores.ports.entries import Member, Row
from tidings.protocol import codec
from tidings.protocol.ids import ConvId
from tidings.protocol.payloads import Message

TOMBSTONE = "tombstone"
_POINTING = frozenset(("message.deleted",))


class Page(NamedTuple):
    """The entries `low … high` as one member sees them, ascending, JSON of `payloads.Message` each; and the numbers for
    which the store had no row."""

    entries: tuple[bytes, ...]
    missing: tuple[int, ...]


def span(member: Member, head: int) -> tuple[int, int]:
    """Tell the first and last number that concern this member: from when it first joined to the head, or to when it
    left. `(1, 0)` when there is none."""
    if not member.windows:
        return 1, 0
    last = member.windows[-1].last
    return member.windows[0].first, head if not last else min(last, head)


def is_visible(row: Row, member: Member) -> bool:
    """Tell whether the member may see this entry's content."""
    if row.kind == TOMBSTONE or not member.sees(row.seq) or member.user in row.hidden_for:
        return False
    if row.kind in _POINTING:
        target = codec.decode(row.payload, Message).data.get("target")
        return isinstance(target, int) and member.sees(target)
    return True


def visible(row: Row, member: Member) -> bytes:
    """Tell an entry as this member sees it: the canonical bytes, or a tombstone's."""
    return row.payload if is_visible(row, member) else tombstone(row.conv, row.seq)


def tombstone(conv: ConvId, seq: int) -> bytes:
    """Tell the bytes of a number without content."""
    return codec.encode(Message(conv=conv, seq=seq, kind=TOMBSTONE))


def page(rows: Iterable[Row], member: Member, low: int, high: int) -> Page:
    """Answer every number of `low … high` (both included; nothing when `low > high`)."""
    found = {row.seq: row for row in rows}
    numbers = range(low, high + 1)
    return Page(
        tuple(visible(found[n], member) if n in found else tombstone(member.conv, n) for n in numbers),
        tuple(n for n in numbers if n not in found),
    )
