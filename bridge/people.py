"""What is known of people, for 30 s: the directory's answers, so that a batch costs at most one read.

Rules: an answer is kept with its time; who does not exist is kept as well. A block or a rename counts after 30 s at the
latest (design, section 2, promise 6), after a reconnect at once. One question is open at a time; what is missing
meanwhile goes into the next.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from stores.ports.directory import Person
from tidings.protocol.ids import UserId

KEPT_MS: Final = 30_000
MOST: Final = 50_000


class PeopleCache:
    """Answers of the directory by user, and the question that is to be asked next."""

    def __init__(self, kept: int = KEPT_MS, most: int = MOST) -> None:
        self._kept = kept
        self._most = most
        self._until: dict[UserId, int] = {}
        self._missing: dict[UserId, None] = {}
        self._asked: frozenset[UserId] = frozenset()
        self.people: dict[UserId, Person] = {}
        """Those that exist. It may hold answers past their time: ask `known_until` first."""
        self.generation = 0
        """Rises when answers are dropped before their time: what was concluded from `known_until` is void then."""

    def known_until(self, users: Iterable[UserId], now: int) -> int:
        """Tell until when (steady ms) all of these are known; 0 when one is not, and then it is asked for."""
        until = now + self._kept
        missing = False
        for user in users:
            kept = self._until.get(user, 0)
            if kept <= now:
                self._missing[user] = None
                missing = True
            elif kept < until:
                until = kept
        return 0 if missing else until

    def question(self, most: int = 5_000) -> frozenset[UserId]:
        """Take what is to be asked now; empty while a question is open or nothing is missing."""
        if self._asked or not self._missing:
            return frozenset()
        self._asked = frozenset(list(self._missing)[:most])
        for user in self._asked:
            del self._missing[user]
        return self._asked

    def told(self, asked: frozenset[UserId], answers: Mapping[UserId, Person], now: int) -> None:
        """Take an answer in: those of `asked` that are not in it do not exist."""
        self._asked = frozenset()
        for user in asked:
            self._until.pop(user, None)
            self._until[user] = now + self._kept
            person = answers.get(user)
            if person is None:
                self.people.pop(user, None)
            else:
                self.people[user] = person
        while len(self._until) > self._most:
            oldest = next(iter(self._until))
            del self._until[oldest]
            self.generation += 1
            self.people.pop(oldest, None)

    def forget(self) -> None:
        """Ask again for whoever is needed next."""
        self._until.clear()
        self.generation += 1

    def __len__(self) -> int:
        return len(self._until)
