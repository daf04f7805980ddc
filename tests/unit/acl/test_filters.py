"""The filter algebra against brute force: small alphabets, every topic of up to four levels."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl.filters import covers, is_filter, is_topic, matcher, matches, overlaps, unshared

WORDS = ("a", "b", "", "$x")
FRESH = "fresh"
"""A level that no filter names: it stands for all the others there could be."""
TOPICS = [
    "/".join(levels) for n in range(1, 5) for levels in product((*WORDS, FRESH), repeat=n) if any(levels) or n > 1
]

FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.sampled_from((*WORDS, "+")), max_size=3),
    st.sampled_from(([], ["#"])),
).filter(is_filter)


def model(pattern: str, topic: str) -> bool:
    """MQTT 5, 4.7, as literally as can be."""

    def walk(want: list[str], have: list[str]) -> bool:
        if want == ["#"]:
            return True
        if not want or not have:
            return not want and not have
        return want[0] in ("+", have[0]) and walk(want[1:], have[1:])

    if topic.startswith("$") and pattern[0] in "+#":
        return False
    levels, names = pattern.split("/"), topic.split("/")
    return walk(levels, names) or (levels[-1] == "#" and len(levels) > 1 and walk(levels[:-1], names))


@given(FILTERS)
def test_matches_is_the_specification(pattern: str) -> None:
    test = matcher(pattern)
    assert [topic for topic in TOPICS if test(topic)] == [topic for topic in TOPICS if model(pattern, topic)]


@given(FILTERS, FILTERS)
def test_covers_means_every_topic(outer: str, inner: str) -> None:
    assert covers(outer, inner) == all(model(outer, topic) for topic in TOPICS if model(inner, topic))


@given(FILTERS, FILTERS)
def test_overlaps_means_some_topic(one: str, other: str) -> None:
    assert overlaps(one, other) == any(model(one, topic) and model(other, topic) for topic in TOPICS)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a", True),
        ("/", True),
        ("+", True),
        ("#", True),
        ("a/+/b/#", True),
        ("$SYS/#", True),
        ("$share/g/a/#", True),
        ("$share/g/+", True),
        ("", False),
        ("a+", False),
        ("a/b#", False),
        ("#/a", False),
        ("a/#/b", False),
        ("a/\0", False),
        ("$share/g", False),
        ("$share/g/", False),
        ("$share//a", False),
        ("$share/+/a", False),
        ("$share/g/$share/h/a", False),
        ("a" * 65_535, True),
        ("a" * 65_536, False),
        ("\ud800", False),
    ],
)
def test_which_texts_are_filters(text: str, valid: bool) -> None:
    assert is_filter(text) is valid


def test_which_texts_are_topics() -> None:
    assert is_topic("a/b")
    assert is_topic("$SYS/x")
    assert not any(is_topic(text) for text in ("", "a/+", "#", "a\0b", "a" * 65_536))


def test_a_shared_subscription_is_not_inside_a_plain_grant() -> None:
    assert not covers("#", "$share/g/a")
    assert not covers("a", "$share/g/a")
    assert covers("$share/g/a/#", "$share/g/a/b")
    assert unshared("$share/g/a/#") == "a/#"
    assert unshared("a/#") == "a/#"
    assert matches("a/#", "a")
