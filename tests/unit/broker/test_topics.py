"""Subscriptions and retained messages, held to the standard's words by a slow and obvious matcher."""

from hypothesis import given
from hypothesis import strategies as st

from broker.embedded.messages import Message
from broker.embedded.rates import Bucket
from broker.embedded.retained import Retained
from broker.embedded.sessions import Session, Subscription
from broker.embedded.subscriptions import Subscriptions, split_share

LEVELS = st.sampled_from(["", "a", "b", "$c"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(st.sampled_from(["", "a", "b", "$c", "+"]), max_size=3),
    st.sampled_from([["#"], ["a"], ["+"]]),
)


def matches(pattern, topic):
    """Match as MQTT 4.7 says, level by level."""
    if topic.startswith("$") and pattern[0] in "+#":
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        if len(levels) < len(wanted):
            return False
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(w in ("+", one) for w, one in zip(wanted, levels, strict=True))


@given(
    st.lists(st.tuples(st.integers(0, 3), FILTERS), max_size=12), st.lists(TOPICS, min_size=1, max_size=6), st.data()
)
def test_the_trie_finds_what_matches(subscribed, topics, data):
    trie = Subscriptions()
    sessions = [Session(f"{n}") for n in range(4)]
    held = {}
    for number, pattern in subscribed:
        trie.add(sessions[number], Subscription(pattern, 1))
        held[number, pattern] = Subscription(pattern, 1)
    for number, pattern in data.draw(st.lists(st.sampled_from(sorted(held)), unique=True)) if held else []:
        trie.remove(sessions[number], held.pop((number, pattern)))
    for topic in topics * 2:
        found = trie.match(topic)
        got = {(int(one.client_id), sub.filter) for one, subs in found.sessions.items() for sub in subs}
        assert got == {(number, pattern) for number, pattern in held if matches(pattern, topic)}
        assert found.shared == []
    for (number, _), subscription in held.items():
        trie.remove(sessions[number], subscription)
    assert trie._root.is_empty


def test_a_shared_subscription_takes_turns():
    trie = Subscriptions()
    members = [Session(f"{n}") for n in range(3)]
    for member in members:
        trie.add(member, Subscription("a/+", 1, share="g"))
    turns = [trie.match("a/b").shared[0].in_turn()[0][0] for _ in range(6)]
    assert turns[:3] == turns[3:]
    assert set(turns) == set(members)
    for member in members:
        trie.remove(member, Subscription("a/+", 1, share="g"))
    assert trie.match("a/b").shared == []


def test_share_names():
    assert split_share("a/b") == ("", "a/b")
    assert split_share("$share/g/a/#") == ("g", "a/#")
    assert [split_share(text) for text in ("$share/g", "$share//a", "$share/g/", "$share/+/a")] == [None] * 4


@given(st.lists(st.tuples(TOPICS, st.booleans()), max_size=12), FILTERS)
def test_retained_messages_are_found_and_forgotten(changes, pattern):
    kept = Retained(100, 10_000)
    model = {}
    for topic, is_kept in changes:
        if is_kept:
            model[topic] = Message(topic, b"x")
            assert kept.put(model[topic])
        else:
            assert kept.delete(topic) == (model.pop(topic, None) is not None)
    assert {one.topic for one in kept.match(pattern)} == {topic for topic in model if matches(pattern, topic)}
    assert (kept.count, kept.bytes) == (len(model), sum(one.size for one in model.values()))
    for topic in model:
        kept.delete(topic)
    assert (kept.count, kept.bytes, kept._root.below) == (0, 0, {})


def test_retained_messages_are_bounded():
    kept = Retained(2, 300)
    assert kept.put(Message("a", b"x"))
    assert kept.put(Message("b", b"x"))
    assert not kept.put(Message("c", b"x"))
    assert kept.put(Message("a", b"y"))
    assert not kept.put(Message("a", b"y" * 300))
    assert kept.get("a").payload == b"y"


@given(st.lists(st.integers(0, 500), min_size=20, max_size=60))
def test_a_bucket_lets_no_more_through_than_its_rate(pauses):
    bucket, now, taken = Bucket(100.0, 10, 0), 0, 0
    for pause in pauses:
        now += pause
        while not bucket.is_empty(now):
            bucket.take(now)
            taken += 1
    assert taken <= 10 + now / 10 + 1
    assert taken >= min(10, len(pauses))
