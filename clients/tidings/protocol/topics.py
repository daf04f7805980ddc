"""Topic names: one table builds and parses them (design, section 3).

Rules
- `FORMS` is the whole of it: a template, whose words in braces are fields, and the struct that holds them.
- Parsing any text gives a form or `Refusal(badTopic)`; building what was parsed gives the same text.
- The level after `out`, `to`, `do`, `state` names the lane of whoever handles it. `check_lane` refuses a topic
  whose lane is not the conversation's (or the user's) own.
"""

from typing import Final

from msgspec import Struct, convert

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

_LEVELS: Final = {form: template.split("/") for form, template in FORMS.items()}
_CHECKS: Final = {
    "user": ids.user_id,
    "device": ids.device_id,
    "lane": ids.lane,
    "conv": ids.conv_id,
    "peer": ids.user_id,
    "id": ids.message_id,
}


def build(topic: Topic) -> str:
    """Build the topic name of a form. The fields are taken as they are: ids were checked when they were made."""
    return FORMS[type(topic)].format_map({name: getattr(topic, name) for name in topic.__struct_fields__})


def parse(name: str) -> Topic:
    """Parse any topic name to its form. Raises `Refusal(badTopic)` for every other text."""
    levels = name.split("/")
    for form, template in _LEVELS.items():
        if len(levels) == len(template) and (fields := _match(template, levels)) is not None:
            return convert(fields, form)
    raise Refusal(Code.BAD_TOPIC, f"not a topic of this system: {name[:80]!r}")


def _match(template: list[str], levels: list[str]) -> dict[str, str] | None:
    fields: dict[str, str] = {}
    for word, level in zip(template, levels, strict=True):
        if not word.startswith("{"):
            if word != level:
                return None
            continue
        field = word[1:-1]
        check = _CHECKS.get(field)
        try:
            fields[field] = check(level) if check else _plain(level)
        except Refusal:
            return None
    return fields


def _plain(level: str) -> str:
    if not level.isascii() or not level.replace("-", "").replace("_", "").isalnum() or len(level) > 64:
        raise Refusal(Code.BAD_TOPIC)
    return level


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
