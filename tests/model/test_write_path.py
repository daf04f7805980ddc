"""The write path keeps its promises in every history within bounds, and without any one of its rules it does not."""

import pytest

from tests.model.path import Path, start, steps
from tests.model.promises import broken
from tests.model.search import Verdict, search
from tests.model.state import State


def check(path: Path, limit: int) -> Verdict[State]:
    """Search a path's histories."""
    return search(start(path), lambda state: steps(path, state), broken, limit)


def test_the_path_holds_in_every_history_of_three_owners_and_two_messages() -> None:
    verdict = check(Path(), 200_000)
    assert verdict.whole, str(verdict)


def test_it_holds_when_the_rows_of_a_batch_lie_in_two_partitions() -> None:
    verdict = check(Path(split=True), 200_000)
    assert verdict.whole, str(verdict)


@pytest.mark.parametrize("path", [Path(owners=4), Path(messages="ABC", batch=2)], ids=["4 owners", "3 messages"])
def test_it_holds_as_far_as_was_searched_in_wider_bounds(path: Path) -> None:
    verdict = check(path, 40_000)
    assert not verdict.broken, str(verdict)


@pytest.mark.parametrize(
    "path",
    [
        Path(journal=False),
        Path(finish=False),
        Path(head_last=False),
        Path(ack_last=False),
        Path(owners=1, batch=1, renumber=True),
    ],
    ids=["epochs without a journal", "no finishing", "head beside index", "acknowledged early", "renumbers"],
)
def test_without_one_of_its_rules_it_breaks(path: Path) -> None:
    verdict = check(path, 200_000)
    assert verdict.broken, str(verdict)


def test_a_broken_path_is_told_as_its_shortest_history() -> None:
    assert str(check(Path(finish=False), 200_000)).splitlines() == [
        "A@1 was acknowledged, but the log has nothing there, after 9 steps:",
        "  1. owner 1 fences at 0",
        "  2. owner 1 loads, head 0",
        "  3. owner 1 sends the rows A@1",
        "  4. rows land: A@1 of epoch 1",
        "  5. owner 1 appends A@1 at 1",
        "  6. owner 1's append at 1 lands",
        "  7. owner 2 fences at 2",
        "  8. owner 2 loads, head 1",
        "  9. owner 2 answers the repeat A@1",
    ]
