"""Topic names: one table builds and parses them (design, section 3).

Rules
- `FORMS` is the whole of it: a template, whose words in braces are fields, and the struct that holds them.
- Parsing any text gives a form or `Refusal(badTopic)`; building what was parsed gives the same text.
- The level after `out`, `to`, `do`, `state` names the lane of whoever handles it. `check_lane` refuses a topic
  whose lane is not the conversation's (or the user's) own.
"""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from msgspec import Struct

from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, DeviceId, Group, Lane, MessageId, UserId


class Out(Struct, frozen=True):
    """A device says something in a conversation: `msg`, `receipt`, `typing`, `edit`."""

    user: UserId
    device: DeviceId
    lane: Lane
    conv: ConvId
    verb: str


class Doormat(Struct, frozen=True):
    """A small device's UTF-8 text to a user, with an id (idempotent)."""

    user: UserId
    device: DeviceId
    lane: Lane
    peer: UserId
    id: MessageId


class DoormatPlain(Struct, frozen=True):
    """A small device's UTF-8 text to a user, without an id (at least once)."""

    user: UserId
    device: DeviceId
    lane: Lane
    peer: UserId


class Do(Struct, frozen=True):
    """A device asks for something without a conversation: `heads`, `sync`, `watch`, `call`, `keys`."""

    user: UserId
    device: DeviceId
    lane: Lane
    verb: str


class Presence(Struct, frozen=True):
    """A device's own state, also the topic of its will."""

    user: UserId
    device: DeviceId
    lane: Lane


class UserIn(Struct, frozen=True):
    """The bridge tells all devices of a user: `msg`, `receipt`, `event`, `typing`, `presence`."""

    user: UserId
    kind: str


class DeviceIn(Struct, frozen=True):
    """The bridge tells one device: `msg`, `error`, `reply`."""

    user: UserId
    device: DeviceId
    kind: str


class Channel(Struct, frozen=True):
    """Posts of a public channel."""

    channel: str


class LaneDo(Struct, frozen=True):
    """Internal: a service's command to the owner of a lane."""

    lane: Lane


class ApiReply(Struct, frozen=True):
    """Internal: replies to one service process."""

    process: str


Topic = Out | Doormat | DoormatPlain | Do | Presence | UserIn | DeviceIn | Channel | LaneDo | ApiReply

FORMS: Final[dict[type[Topic], str]] = {
    Out: "u/{user}/{device}/out/{lane}/{conv}/{verb}",
    Doormat: "u/{user}/{device}/to/{lane}/{peer}/{id}",
    DoormatPlain: "u/{user}/{device}/to/{lane}/{peer}",
    Do: "u/{user}/{device}/do/{lane}/{verb}",
    Presence: "u/{user}/{device}/state/{lane}",
    UserIn: "u/{user}/in/{kind}",
    DeviceIn: "u/{user}/{device}/in/{kind}",
    Channel: "ch/{channel}",
    LaneDo: "s/{lane}/do",
    ApiReply: "s/api/{process}/re",
}

PLAIN: Final = "[A-Za-z0-9_-]{1,64}"
"""The form of a level that is no id: verbs, kinds, processes, channels."""

PATTERNS: Final[dict[str, str]] = {**ids.PATTERNS, "peer": ids.PATTERNS["user"]}
"""The forms of fields by name; every other field is `PLAIN`."""


def _key(levels: list[str]) -> tuple[int, str, str]:
    """Tell a form by the number of its levels, the first, and in the longer ones the fourth: no two forms share it."""
    return len(levels), levels[0], levels[3] if len(levels) > 4 else ""


def _pattern(template: str) -> re.Pattern[str]:
    words = (f"({PATTERNS.get(word[1:-1], PLAIN)})" if word[0] == "{" else word for word in template.split("/"))
    return re.compile("/".join(words))


_PARSERS: Final[dict[tuple[int, str, str], tuple[Callable[..., Topic], re.Pattern[str]]]] = {
    _key(template.split("/")): (form, _pattern(template)) for form, template in FORMS.items()
}
_BUILDERS: Final = {
    form: (re.sub(r"\{\w+\}", "%s", template), attrgetter(*re.findall(r"\{(\w+)\}", template)))
    for form, template in FORMS.items()
}


def build(topic: Topic) -> str:
    """Build the topic name of a form. The fields are taken as they are: ids were checked when they were made."""
    template, fields = _BUILDERS[type(topic)]
    name: str = template % fields(topic)
    return name


def parse(name: str) -> Topic:
    """Parse any topic name to its form. Raises `Refusal(badTopic)` for every other text."""
    found = _PARSERS.get(_key(name.split("/")))
    if found is not None and (match := found[1].fullmatch(name)) is not None:
        return found[0](*match.groups())
    raise Refusal(Code.BAD_TOPIC, f"not a topic of this system: {name[:80]!r}")


def check_lane(topic: Out | Doormat | DoormatPlain | Do | Presence) -> None:
    """Refuse a topic whose lane level is not its handler's own (`wrongLane`)."""
    match topic:
        case Out():
            own = ids.lane_of(topic.conv)
        case Doormat() | DoormatPlain():
            own = ids.lane_of(ids.direct_conversation(topic.user, topic.peer))
        case Do() | Presence():
            own = ids.lane_of(topic.user)
    if topic.lane != own:
        raise Refusal(Code.WRONG_LANE, f"lane {topic.lane} does not handle this; use {own}")


def device_subscriptions(user: UserId, device: DeviceId) -> tuple[str, str]:
    """List the filters that a device subscribes, QoS 1: all its user's notices, and its own."""
    return f"u/{user}/in/#", f"u/{user}/{device}/in/#"


def bridge_subscriptions(group: Group) -> tuple[str, ...]:
    """List the filters of a lane group's bridge session: five a lane, none of them shared."""
    return tuple(
        pattern.format(lane)
        for lane in ids.lanes_of(group)
        for pattern in ("u/+/+/out/{}/+/+", "u/+/+/to/{}/#", "u/+/+/do/{}/+", "u/+/+/state/{}", "s/{}/do")
    )
