"""Kinds of entries and notices that are not messages, and what their `data` holds.

Rules: kinds have a dot; numbered ones are entries of a conversation's log; a client keeps kinds it does not know.
"""

from typing import Final, NamedTuple


class EventKind(NamedTuple):
    """A row of the table: whether it is numbered, and the fields of `data`."""

    numbered: bool
    data: tuple[str, ...]
    meaning: str


KINDS: Final[dict[str, EventKind]] = {
    "direct.created": EventKind(True, ("members",), "two users' conversation begins; always seq 1"),
    "group.created": EventKind(True, ("name", "description", "members", "history"), "a group begins; seq 1"),
    "group.changed": EventKind(True, ("name", "description", "history"), "settings changed; only the changed"),
    "member.added": EventKind(True, ("members",), "these users joined, seeing what the group's `history` says"),
    "member.removed": EventKind(True, ("user",), "an admin removed this user"),
    "member.left": EventKind(True, ("user",), "this user left"),
    "member.role": EventKind(True, ("user", "role"), "this member is `admin` or `member` from now on"),
    "message.deleted": EventKind(True, ("target",), "the entry `target` is a tombstone for all from now on"),
    "sync.needed": EventKind(False, ("reason",), "compare heads now: something for this device was dropped"),
    "device.added": EventKind(False, ("device", "name"), "a device of yours logged in"),
    "device.removed": EventKind(False, ("device",), "a device of yours was logged out"),
}
