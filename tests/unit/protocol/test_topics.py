"""One table builds and parses every topic; any other text is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.protocol import ids, topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Group

words = st.from_regex(topics.PLAIN, fullmatch=True)


def fields_of(form: type[topics.Topic]) -> st.SearchStrategy[topics.Topic]:
    names = [field.name for field in msgspec.structs.fields(form)]
    values = {name: st.from_regex(topics.PATTERNS.get(name, topics.PLAIN), fullmatch=True) for name in names}
    make: Any = form
    return st.builds(lambda **given: make(**given), **values)


any_topic = st.one_of([fields_of(form) for form in topics.FORMS])
levels = st.sampled_from(
    ["", "u", "s", "ch", "in", "out", "to", "do", "state", "api", "re", "+", "#", "$SYS", "$share", "00", "é", "\0"]
)
user = ids.make_user_id(bytes(range(11)))
other = ids.make_user_id(bytes(range(50, 61)))
device = ids.make_device_id(b"phone!")
direct = ids.direct_conversation(user, other)


@pytest.mark.parametrize("form", topics.FORMS, ids=lambda form: form.__name__)
@given(data=st.data())
def test_every_form_comes_back_from_its_name(form: type[topics.Topic], data: st.DataObject) -> None:
    topic = data.draw(fields_of(form))
    assert topics.parse(topics.build(topic)) == topic


@pytest.mark.parametrize("form", topics.FORMS, ids=lambda form: form.__name__)
def test_a_forms_fields_stand_in_the_order_of_its_levels(form: type[topics.Topic]) -> None:
    said = [level[1:-1] for level in topics.FORMS[form].split("/") if level.startswith("{")]
    assert said == [field.name for field in msgspec.structs.fields(form)]


@given(name=st.text(max_size=120) | st.lists(levels | words, max_size=9).map("/".join))
def test_any_text_is_a_topic_that_builds_back_or_is_refused(name: str) -> None:
    try:
        topic = topics.parse(name)
    except Refusal as refusal:
        assert refusal.code is Code.BAD_TOPIC  # noqa: PT017 - it need not be raised
    else:
        assert topics.build(topic) == name


@given(topic=any_topic, place=st.integers(0, 200), what=st.sampled_from(["", "/", "+", "#", "\n", "A", "é", "\0", " "]))
def test_one_wrong_character_makes_another_topic_or_none(topic: topics.Topic, place: int, what: str) -> None:
    name = topics.build(topic)
    spoiled = name[:place] + what + name[place + 1 :]
    try:
        found = topics.parse(spoiled)
    except Refusal:
        return
    assert topics.build(found) == spoiled
    assert (found == topic) == (spoiled == name)


def test_a_device_id_cannot_be_a_topic_word() -> None:
    for form in topics.FORMS.values():
        for word in form.split("/"):
            with pytest.raises(Refusal):
                ids.device_id(word)
    with pytest.raises(Refusal, match="badTopic"):
        topics.parse(f"u/{user}/in/in/msg")


def test_the_lane_must_be_the_handlers_own() -> None:
    own = ids.lane_of(direct)
    wrong = ids.Lane("ff" if own != "ff" else "fe")
    good: list[Any] = [
        topics.Out(user, device, own, direct, "msg"),
        topics.Doormat(user, device, own, other, ids.MessageId("m")),
        topics.DoormatPlain(user, device, own, other),
        topics.Do(user, device, ids.lane_of(user), "heads"),
        topics.Presence(user, device, ids.lane_of(user)),
    ]
    for topic in good:
        topics.check_lane(topic)
        with pytest.raises(Refusal, match="wrongLane"):
            topics.check_lane(msgspec.structs.replace(topic, lane=wrong))


def _covers(pattern: str, name: str) -> bool:
    wanted, said = pattern.split("/"), name.split("/")
    if wanted[-1] == "#":
        wanted, said = wanted[:-1], said[: len(wanted) - 1]
    return len(wanted) == len(said) and all(w in ("+", s) for w, s in zip(wanted, said, strict=True))


@given(topic=any_topic)
def test_each_topic_that_a_bridge_handles_goes_to_exactly_one_lane_group(topic: topics.Topic) -> None:
    name = topics.build(topic)
    takers = [
        group for group in ids.GROUPS for pattern in topics.bridge_subscriptions(Group(group)) if _covers(pattern, name)
    ]
    handled = isinstance(
        topic, topics.Out | topics.Doormat | topics.DoormatPlain | topics.Do | topics.Presence | topics.LaneDo
    )
    assert takers == ([ids.group_of(topic.lane)] if handled else [])


@given(topic=any_topic)
def test_a_device_hears_what_is_for_its_user_and_for_itself(topic: topics.Topic) -> None:
    name = topics.build(topic)
    match topic:
        case topics.UserIn():
            assert any(_covers(each, name) for each in topics.device_subscriptions(topic.user, device))
        case topics.DeviceIn():
            assert any(_covers(each, name) for each in topics.device_subscriptions(topic.user, topic.device))
        case _:
            assert not any(_covers(each, name) for each in topics.device_subscriptions(user, device))
