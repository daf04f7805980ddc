"""Search every history of a model, the shortest first."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)


class Verdict(NamedTuple, Generic[S]):
    """What a search found. `broken` is empty when no state breaks a promise; `history` then is empty too. `whole` tells
    that every reachable state was seen."""

    states: int
    whole: bool
    broken: str
    history: tuple[str, ...]

    def __str__(self) -> str:
        if not self.broken:
            return f"nothing broken in {'all' if self.whole else 'the first'} {self.states} states"
        steps = (f"  {n}. {step}" for n, step in enumerate(self.history, 1))
        return "\n".join((f"{self.broken}, after {len(self.history)} steps:", *steps))


def search(
    start: S,
    steps: Callable[[S], Iterable[tuple[str, S]]],
    broken: Callable[[S], str],
    limit: int,
) -> Verdict[S]:
    """Visit states breadth first until one is `broken` (a sentence; empty: it holds), all are seen, or `limit` are."""
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for label, after in steps(state):
            if after in came_from:
                continue
            came_from[after] = (state, label)
            if why := broken(after):
                return Verdict(len(came_from), False, why, _history(came_from, after))
            waiting.append(after)
        if len(came_from) > limit:
            return Verdict(len(came_from), False, "", ())
    return Verdict(len(came_from), True, "", ())


def _history(came_from: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    steps: list[str] = []
    while (came := came_from[state]) is not None:
        state, label = came
        steps.append(label)
    return tuple(reversed(steps))
