"""Dead letters: what could not be processed is kept before it is acknowledged, and can be looked at and replayed."""

from typing import Protocol

from msgspec import Struct


class DeadLetter(Struct, frozen=True):
    """One message that could not be processed. `at` ms; `number` is given by the store, 0 before."""

    group: str
    topic: str
    payload: bytes
    code: str
    reason: str
    at: int
    number: int = 0


class DeadLetters(Protocol):
    """The kept dead letters of all lane groups. Raises `StoreUnavailable`."""

    async def put(self, letters: list[DeadLetter]) -> None:
        """Keep them, durably: returns after the commit."""
        ...

    async def page(self, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """List by rising number, those above `after`."""
        ...

    async def get(self, number: int) -> DeadLetter | None:
        """Show one."""
        ...

    async def drop(self, numbers: list[int]) -> int:
        """Delete; tells how many were there."""
        ...

    async def count(self) -> int:
        """How many are kept."""
        ...
