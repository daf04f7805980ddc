"""What the bridge asks about people: whether they exist, whom they block, whether they hide read receipts.

Rules: answers are for a set of users at once, so that a batch costs one read. The bridge keeps them at most 30 s.
"""

from typing import Protocol

from msgspec import Struct

from tidings.protocol.ids import UserId


class Person(Struct, frozen=True):
    """What sending needs to know of a user. `blocks` are the users it blocks."""

    user: UserId
    blocks: frozenset[UserId] = frozenset()
    hides_read: bool = False
    hides_presence: bool = False
    banned: bool = False


class Directory(Protocol):
    """The accounts as the bridge sees them."""

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """Tell of those users that exist; an unknown one is absent. Raises `StoreUnavailable`."""
        ...


class LastSeen(Protocol):
    """Durable last-seen times."""

    async def put(self, seen: dict[UserId, int]) -> None:
        """Keep the last-seen times (ms); an older time never replaces a newer."""
        ...

    async def get(self, users: frozenset[UserId]) -> dict[UserId, int]:
        """Tell last-seen times (ms) of those that have one."""
        ...
