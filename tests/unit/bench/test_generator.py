"""What a phase comes to: only the measured seconds count, from the due moment, and nothing lost goes unsaid."""

from typing import cast

import pytest

from bench.client import WHOLE, Client, Sent
from bench.generator import Span, tally
from bench.job import Phase

PHASE = Phase("1,000/s", 1_000.0, seconds=10.0, warm_up=1.0, window=10)
SPAN = Span(100.0, 110.0)


class Listed:
    """Stands for a client: its messages are all that a tally reads."""

    def __init__(self) -> None:
        self.sent = Sent()
        self.refused = 0
        self.refusal = ""

    def message(self, due: float, *, left: float = 0.0, acked: float = 0.0, delivered: float = 0.0) -> None:
        number = self.sent.add(due, left or due)
        if acked:
            self.sent.mark(number, acked, own=True)
        if delivered:
            self.sent.mark(number, delivered, own=False)


@pytest.fixture
def one() -> Listed:
    return Listed()


def summed(*clients: Listed, first: int = 0):  # type: ignore[no-untyped-def]
    return tally(PHASE, cast(list[Client], list(clients)), [first] * len(clients), SPAN, cpu=0.5)


def test_warm_up_and_drain_are_not_counted(one: Listed) -> None:
    for due in (99.5, 101.0, 109.9, 110.1):
        one.message(due, acked=due + 0.2, delivered=due + 0.3)
    found = summed(one)
    assert (found.sent, found.acknowledged, found.delivered) == (2, 1, 1)
    assert found.acknowledge.count == 2, "due within the span, though one came back after it"


def test_latency_counts_from_the_due_moment_not_from_sending(one: Listed) -> None:
    one.message(101.0, left=103.0, acked=103.5, delivered=104.0)
    found = summed(one)
    assert found.acknowledge.p50 == pytest.approx(2_500)
    assert found.deliver.p50 == pytest.approx(3_000)
    assert found.late.p50 == pytest.approx(2_000)


def test_copies_that_never_came_are_told(one: Listed) -> None:
    one.message(101.0, acked=101.1)
    one.message(102.0)
    found = summed(one)
    assert found.missing == 3
    assert found.deliver.count == 0


def test_repeats_are_told_and_change_nothing(one: Listed) -> None:
    one.message(101.0, acked=101.1, delivered=101.2)
    assert not one.sent.mark(0, 105.0, own=True)
    found = summed(one)
    assert (found.repeated, found.acknowledged, found.acknowledge.most) == (1, 1, pytest.approx(100))


def test_an_earlier_phase_does_not_count(one: Listed) -> None:
    one.message(101.0)
    one.message(102.0, acked=102.1, delivered=102.1)
    assert summed(one, first=1).missing == 0


def test_the_first_refusal_is_told() -> None:
    fine, other = Listed(), Listed()
    other.refused, other.refusal = 2, "rateLimited: wait"
    found = summed(fine, other)
    assert (found.refused, found.refusal) == (2, "rateLimited: wait")


def test_a_message_is_whole_when_both_copies_came(one: Listed) -> None:
    one.message(1.0, acked=2.0, delivered=3.0)
    one.message(1.0, acked=2.0)
    assert one.sent.state.count(WHOLE) == 1
