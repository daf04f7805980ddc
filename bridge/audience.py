"""Who is told of a receipt.

Rules: a move that is not shown is told to the reader's own devices alone. Else in a small conversation everyone is, the
reader's own devices included. In a large group only those whose entries
are in the range, and the reader: else each message would cause a notice from every member to every member. Who is not
told finds the marks by the receipt version, when it looks.
"""

from collections.abc import Iterable
from typing import Final

from bridge.state import State
from stores.ports.entries import MarkMove
from tidings.protocol.ids import UserId

ALL_UP_TO: Final = 32


def told_of(state: State, move: MarkMove) -> Iterable[UserId]:
    """List the users to be told of a move."""
    if not move.shown:
        return [user for user in state.active if user == move.user]
    if len(state.active) <= ALL_UP_TO or not state.tail or move.from_ + 1 < state.tail[0].seq:
        return state.active
    senders = {row.sender for row in state.tail if move.from_ < row.seq <= move.to}
    senders.add(move.user)
    return [user for user in state.active if user in senders]
