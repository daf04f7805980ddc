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


def receipts_told(member: Member, version: int) -> int:
    """Tell the conversation's receipt version to a member: 0 to who left, since what others read later is not told."""
    return version if member.active else 0


def last_seen_below(member: Member, seq: int) -> int:
    """Tell the last number up to `seq` that lies in one of the member's windows, 0 when there is none."""
    ends = (min(seq, window.last or seq) for window in member.windows if window.first <= seq)
    return max(ends, default=0)


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


def bounds(first: int, head: int, after: int | None, before: int | None, limit: int) -> tuple[int, int, bool]:
    """Tell which numbers `low … high` of `first … head` answer a request, and whether there are more in the direction
    asked: with `after` the oldest above it, otherwise the newest below `before` (or at all)."""
    low = first if after is None else max(first, after + 1)
    high = head if before is None else min(head, before - 1)
    if after is not None:
        cut = min(high, low + limit - 1)
        return low, cut, cut < high
    cut = max(low, high - limit + 1)
    return cut, high, cut > low


def fitting(entries: tuple[bytes, ...], room: int, *, from_the_end: bool) -> tuple[bytes, ...]:
    """Take as many entries as fit `room` bytes, from the side that was asked for, and at least one."""
    count = 0
    for entry in reversed(entries) if from_the_end else entries:
        room -= len(entry) + 1
        if room < 0 and count:
            break
        count += 1
    return entries[len(entries) - count :] if from_the_end else entries[:count]


def page(rows: Iterable[Row], member: Member, low: int, high: int) -> Page:
    """Answer every number of `low … high` (both included; nothing when `low > high`)."""
    found = {row.seq: row for row in rows}
    numbers = range(low, high + 1)
    return Page(
        tuple(visible(found[n], member) if n in found else tombstone(member.conv, n) for n in numbers),
        tuple(n for n in numbers if n not in found),
    )
