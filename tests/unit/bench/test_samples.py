"""Percentiles by nearest rank: exact on what can be counted by hand, bounded in what leaves the process."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.samples import POINTS, Latency, curve, latency, percentile

SAMPLES = st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=400)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.01, 1), (0.5, 50), (0.501, 51), (0.95, 95), (0.99, 99), (0.991, 100), (1.0, 100)],
)
def test_nearest_rank_of_one_to_a_hundred(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_of_one_sample_every_percentile_is_that_sample() -> None:
    assert [percentile([7.0], share) for share in (0.001, 0.5, 1.0)] == [7.0] * 3


def test_however_small_the_share_it_is_the_least_sample_never_the_greatest() -> None:
    assert percentile([1.0, 9.0], 1e-15) == 1.0


def test_of_nothing_there_is_none() -> None:
    assert math.isnan(percentile([], 0.5))
    nothing = latency([])
    assert (nothing.count, nothing.p99, nothing.curve) == (0, None, ())
    assert msgspec.json.decode(msgspec.json.encode(nothing), type=Latency) == nothing


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_a_share_outside_its_range_is_an_error(share: float) -> None:
    with pytest.raises(ValueError, match="a share lies in"):
        percentile([1.0], share)


def test_latency_sorts_and_turns_seconds_into_milliseconds() -> None:
    found = latency([0.003, 0.001, 0.002, 0.004])
    assert (found.count, found.p50, found.p95, found.most) == (4, 2.0, 4.0, 4.0)


@given(SAMPLES, st.floats(min_value=0.001, max_value=1.0))
def test_a_percentile_is_the_least_sample_that_enough_do_not_exceed(samples: list[float], share: float) -> None:
    found = percentile(sorted(samples), share)
    assert found in samples
    assert sum(one <= found for one in samples) >= share * len(samples) - 1e-6
    assert sum(one < found for one in samples) < share * len(samples)


@given(SAMPLES)
def test_a_curve_rises_ends_at_the_greatest_and_is_bounded(samples: list[float]) -> None:
    points = curve(sorted(samples))
    shares, values = zip(*points, strict=True)
    assert len(points) <= POINTS + 1
    assert list(shares) == sorted(set(shares))
    assert list(values) == sorted(values)
    assert points[-1] == (1.0, max(samples))


def test_a_curve_keeps_the_tail_of_many_samples() -> None:
    ordered = [1.0] * 9_990 + [50.0] * 10
    assert any(0.9985 < share < 0.9999 and value == 50.0 for share, value in curve(ordered))
