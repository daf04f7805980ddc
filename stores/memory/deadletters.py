"""The model of the kept dead letters."""

import msgspec

from stores.ports.deadletters import DeadLetter


class MemoryDeadLetters:
    """`DeadLetters` over a dictionary. Above `most` the oldest are deleted."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._last = 0
        self._letters: dict[int, DeadLetter] = {}

    async def put(self, letters: list[DeadLetter]) -> None:
        """Keep them, numbered."""
        for letter in letters:
            self._last += 1
            self._letters[self._last] = msgspec.structs.replace(letter, number=self._last)
        while len(self._letters) > self._most:
            del self._letters[min(self._letters)]

    async def page(self, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """List by rising number, those above `after`."""
        return [self._letters[number] for number in sorted(self._letters) if number > after][:limit]

    async def get(self, number: int) -> DeadLetter | None:
        """Show one."""
        return self._letters.get(number)

    async def drop(self, numbers: list[int]) -> int:
        """Delete; tells how many were there."""
        return sum(self._letters.pop(number, None) is not None for number in set(numbers))

    async def count(self) -> int:
        """How many are kept."""
        return len(self._letters)
