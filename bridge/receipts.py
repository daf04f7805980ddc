"""Receipts: ranges `(from, to]` merged into one watermark per (member, kind), and the log of its moves.

Rules (design, section 4)
- A watermark moves only if the range begins at or below it: who holds everything from mark + 1. Others change nothing;
  the device says it again when its gap is filled. It never goes back.
- Numbers outside a member's windows need not be held: the watermark steps over them.
- What was read was delivered: a read range moves `delivered` as well, where that one is reached.
- A move is split where what may be shown changes: entries hidden from the reader, and ranges read while the reader
  hides read receipts, are moves with `shown` false. They count for unread numbers and are told to the reader's own
  devices alone.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from bridge.decision import NOTHING, Decision, NeedRows
from bridge.orders import Acknowledge
from bridge.state import State
from stores.ports.directory import Person
from stores.ports.entries import MarkMove, Member
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import SendReceipt

LOOK_BACK: Final = 10_000
"""How many entries below the remembered ones are looked through for hidden ones; older ones are not shown."""


def decide(
    state: State,
    order: Acknowledge,
    people: Mapping[UserId, Person],
    at: int,
    found: Mapping[UserId, frozenset[int]],
    found_from: int,
) -> Decision | NeedRows:
    """Decide a receipt: the moves it makes, none when it changes nothing. Raises `Refusal`."""
    member = state.members.get(order.user)
    if member is None:
        raise Refusal(Code.UNKNOWN_CONVERSATION)
    kind, low, to = _range(state, member, order)
    if to > state.head:
        raise Refusal(Code.BAD_VALUE, "a receipt cannot be ahead of its conversation")
    lowest = min((mark for mark, _ in _advances(state, member, kind, low, to)), default=None)
    if lowest is None:
        return NOTHING
    floor = found_from or state.known_from
    needed = max(lowest + 1, state.known_from - LOOK_BACK)
    if needed < floor:
        return NeedRows(needed, state.known_from - 1)
    hidden = found.get(order.user, frozenset()) | frozenset(state.hidden.get(order.user, ()))
    person = people.get(order.user)
    moves: list[MarkMove] = []
    for mark, which in _advances(state, member, kind, low, to):
        secret = which == "read" and person is not None and person.hides_read
        for low_, high, shown in _segments(member, mark, to, hidden, floor):
            version = state.receipts + len(moves) + 1
            moves.append(
                MarkMove(
                    state.conv, order.user, which, low_, high, max(at, state.last_at), version, shown and not secret
                )
            )
    return Decision(marks=tuple(moves))


def floor_of(member: Member, mark: int) -> int:
    """Step a watermark over the numbers that lie outside the member's windows."""
    for window in member.windows:
        if mark + 1 < window.first:
            return window.first - 1
        if not window.last or mark < window.last:
            return mark
    return mark


def _range(state: State, member: Member, order: Acknowledge) -> tuple[str, int, int]:
    receipt = order.receipt
    last = member.windows[-1].last
    to = min(receipt.to, last) if last else receipt.to
    if isinstance(receipt, SendReceipt):
        return receipt.kind, receipt.from_, to
    # By HTTP only the end is told: everything before it was there to be fetched.
    return receipt.kind, floor_of(member, state.marks.get((order.user, receipt.kind), 0)), to


def _advances(state: State, member: Member, kind: str, low: int, to: int) -> Iterator[tuple[int, str]]:
    """Tell which watermarks the range moves, and from where."""
    for which in ("delivered",) if kind == "delivered" else ("delivered", "read"):
        mark = floor_of(member, state.marks.get((member.user, which), 0))
        if low <= mark < to:
            yield mark, which


def _segments(
    member: Member, mark: int, to: int, hidden: frozenset[int], known_from: int
) -> Iterator[tuple[int, int, bool]]:
    """Cut `(mark, to]` into the longest ranges inside the windows that are shown, or not shown, throughout."""
    for window in member.windows:
        low = max(mark, window.first - 1)
        high = min(to, window.last or to)
        if low < high:
            yield from _shades(low, high, hidden, known_from)


def _shades(low: int, high: int, hidden: frozenset[int], known_from: int) -> Iterator[tuple[int, int, bool]]:
    dark = sorted(seq for seq in hidden if low < seq <= high)
    if low + 1 < known_from:
        edge = min(known_from - 1, high)
        yield low, edge, False
        low = edge
        dark = [seq for seq in dark if seq > low]
    start = low
    index = 0
    while index < len(dark):
        first = last = dark[index]
        while index + 1 < len(dark) and dark[index + 1] == last + 1:
            index += 1
            last = dark[index]
        if first - 1 > start:
            yield start, first - 1, True
        yield first - 1, last, False
        start = last
        index += 1
    if start < high:
        yield start, high, True
