"""Ids, and what may be read off them.

Rules
- An id of ours begins with its *cell* and its *lane*, two lower-case hex digits each. The lane names the one
  writer of a conversation and the handler of a user's requests; its first digit is the *lane group*.
- The fifth character tells the kind: `u` user; `d` direct, `g` group, `s` self (one member) conversation.
- Device ids are `d` and nine characters: one form, which no topic word has (promise 5).
- A direct conversation's id is a pure function of its two users, a group's of its creator and the request's id,
  a self conversation's of its user. So each is the same whoever computes it, and a repeat makes nothing new.
- Entropy is an argument: this module knows no random source.
"""

import hashlib
import re
from typing import Final, NewType

from tidings.protocol.errors import Code, Refusal

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
ConvId = NewType("ConvId", str)
MessageId = NewType("MessageId", str)
"""A client's own id of a message, 1–36 characters `[A-Za-z0-9_-]`: with conversation, user and device its
idempotency key."""
Cell = NewType("Cell", str)
Lane = NewType("Lane", str)
Group = NewType("Group", str)
"""A lane group: the lane's first hex digit; unit of ownership, journal and bridge session."""

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_USER_TAIL: Final = 16
_DEVICE_TAIL: Final = 9
_CONV_TAIL: Final = 26

_USER: Final = re.compile(rf"[0-9a-f]{{4}}u[{_ALPHABET}]{{{_USER_TAIL}}}")
_DEVICE: Final = re.compile(rf"d[{_ALPHABET}]{{{_DEVICE_TAIL}}}")
_CONV: Final = re.compile(rf"[0-9a-f]{{4}}[dgs][{_ALPHABET}]{{{_CONV_TAIL}}}")
_MESSAGE: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
_HEX2: Final = re.compile(r"[0-9a-f]{2}")

PATTERNS: Final[dict[str, str]] = {
    "user": _USER.pattern,
    "device": _DEVICE.pattern,
    "conv": _CONV.pattern,
    "id": _MESSAGE.pattern,
    "lane": _HEX2.pattern,
}
"""The forms as regular expressions, for whoever matches several at once or documents them."""

LANES: Final[tuple[Lane, ...]] = tuple(Lane(f"{n:02x}") for n in range(256))
GROUPS: Final[tuple[Group, ...]] = tuple(Group(f"{n:x}") for n in range(16))
CELL: Final = Cell("00")
"""The cell of a single installation."""


def user_id(text: str) -> UserId:
    """Check the form of a user id. Raises `Refusal(badId)`."""
    return UserId(_checked(_USER, text, "user"))


def device_id(text: str) -> DeviceId:
    """Check the form of a device id. Raises `Refusal(badId)`."""
    return DeviceId(_checked(_DEVICE, text, "device"))


def conv_id(text: str) -> ConvId:
    """Check the form of a conversation id. Raises `Refusal(badId)`."""
    return ConvId(_checked(_CONV, text, "conversation"))


def message_id(text: str) -> MessageId:
    """Check the form of a client's message id. Raises `Refusal(badId)`."""
    return MessageId(_checked(_MESSAGE, text, "message"))


def lane(text: str) -> Lane:
    """Check the form of a lane, two hex digits. Raises `Refusal(badId)`."""
    return Lane(_checked(_HEX2, text, "lane"))


def cell_of(owned: UserId | ConvId) -> Cell:
    """Tell the cell an id belongs to."""
    return Cell(owned[:2])


def lane_of(owned: UserId | ConvId) -> Lane:
    """Tell the lane whose owner writes this conversation, or handles this user's requests."""
    return Lane(owned[2:4])


def group_of(of: Lane) -> Group:
    """Tell the lane group of a lane: its first digit."""
    return Group(of[0])


def lanes_of(group: Group) -> tuple[Lane, ...]:
    """List the 16 lanes of a lane group."""
    return tuple(Lane(group + digit) for digit in GROUPS)


def kind_of(conv: ConvId) -> str:
    """Tell a conversation's kind: `d` direct, `g` group, `s` self."""
    return conv[4]


def make_user_id(entropy: bytes, cell: Cell = CELL) -> UserId:
    """Make a user id from at least 11 random bytes: one for the lane, ten for the tail."""
    return UserId(f"{cell}{entropy[0]:02x}u{_base32(entropy[1:11], _USER_TAIL)}")


def make_device_id(entropy: bytes) -> DeviceId:
    """Make a device id from at least 6 random bytes."""
    return DeviceId("d" + _base32(entropy[:6], _DEVICE_TAIL))


def direct_conversation(one: UserId, other: UserId) -> ConvId:
    """Derive the conversation of two users: the same whichever of them asks. With oneself: the self log."""
    if one == other:
        return self_conversation(one)
    low, high = sorted((one, other))
    digest = hashlib.sha256(f"direct\0{low}\0{high}".encode()).digest()
    return ConvId(f"{low[:2]}{digest[0]:02x}d{_base32(digest[1:18], _CONV_TAIL)}")


def group_conversation(creator: UserId, request: MessageId) -> ConvId:
    """Derive a new group's id from who asked and the request's id, so that a retried request makes one group."""
    digest = hashlib.sha256(f"group\0{creator}\0{request}".encode()).digest()
    return ConvId(f"{creator[:2]}{digest[0]:02x}g{_base32(digest[1:18], _CONV_TAIL)}")


def self_conversation(user: UserId) -> ConvId:
    """Derive the id of a user's own log, on the user's own lane."""
    digest = hashlib.sha256(f"self\0{user}".encode()).digest()
    return ConvId(f"{user[:4]}s{_base32(digest[:17], _CONV_TAIL)}")


def client_id(user: UserId, device: DeviceId) -> str:
    """Build the MQTT client id of a device: `{user}:{device}`."""
    return f"{user}:{device}"


def _checked(form: re.Pattern[str], text: str, what: str) -> str:
    if form.fullmatch(text) is None:
        raise Refusal(Code.BAD_ID, f"not a {what} id: {text[:40]!r}")
    return text


def _base32(raw: bytes, length: int) -> str:
    number = int.from_bytes(raw, "big")
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(length)))
