"""Every limit of what may be said, in one place. docs/limits.md is generated from this table.

Units: bytes of UTF-8 where the name says bytes, characters (code points after NFC) elsewhere, seconds for times.
"""

from typing import Final, NamedTuple


class Limit(NamedTuple):
    """A named limit: its value, its unit and what happens above it."""

    value: int
    unit: str
    above: str


TEXT_BYTES: Final = 64 * 1024
PACKET_BYTES: Final = 256 * 1024
NAME_CHARS: Final = 255
STATUS_CHARS: Final = 255
ABOUT_CHARS: Final = 2_048
ATTACHMENTS: Final = 30
ATTACHMENT_BYTES: Final = 2 * 1024**3
THUMBNAIL_BYTES: Final = 4 * 1024
MENTIONS: Final = 100
GROUP_MEMBERS: Final = 1_024
WATCHED_USERS: Final = 200
HISTORY_PAGE: Final = 50
HISTORY_PAGE_MOST: Final = 200
HEADS_PAGE: Final = 500
HISTORY_FOR_NEW_MEMBERS: Final = 100
MESSAGES_A_MINUTE: Final = 100
ID_KEPT_SECONDS: Final = 7 * 86_400
SESSION_EXPIRY_SECONDS: Final = 30 * 86_400
TYPING_EVERY_SECONDS: Final = 1
TYPING_LASTS_SECONDS: Final = 3
WATCH_LASTS_SECONDS: Final = 60
TOKEN_BYTES: Final = 8 * 1024

TABLE: Final[dict[str, Limit]] = {
    "text": Limit(TEXT_BYTES, "bytes of UTF-8", "tooLarge"),
    "MQTT packet": Limit(PACKET_BYTES, "bytes", "the broker disconnects (reason 149)"),
    "name": Limit(NAME_CHARS, "characters, at least 1", "badValue"),
    "status line": Limit(STATUS_CHARS, "characters", "badValue"),
    "description, bio": Limit(ABOUT_CHARS, "characters", "badValue"),
    "attachments of a message": Limit(ATTACHMENTS, "attachments", "badValue"),
    "attachment": Limit(ATTACHMENT_BYTES, "bytes", "tooLarge"),
    "thumbnail": Limit(THUMBNAIL_BYTES, "bytes", "tooLarge"),
    "mentions of a message": Limit(MENTIONS, "users", "badValue"),
    "group": Limit(GROUP_MEMBERS, "members", "groupFull"),
    "watched users": Limit(WATCHED_USERS, "users a request", "badValue"),
    "history page": Limit(HISTORY_PAGE_MOST, "entries (50 unless asked)", "the page is cut"),
    "heads page": Limit(HEADS_PAGE, "conversations", "the page is cut, `next` continues"),
    "history for a new member": Limit(HISTORY_FOR_NEW_MEMBERS, "entries", "older ones are tombstones"),
    "messages of a user": Limit(MESSAGES_A_MINUTE, "a minute and bridge", "rateLimited with retryAfter"),
    "idempotency of an id": Limit(ID_KEPT_SECONDS, "seconds", "a later repeat is a new message"),
    "session": Limit(SESSION_EXPIRY_SECONDS, "seconds offline", "the broker forgets its queue; sync repairs"),
    "typing notice": Limit(TYPING_EVERY_SECONDS, "seconds between two of a device", "dropped, counted"),
    "typing shown": Limit(TYPING_LASTS_SECONDS, "seconds", "expires"),
    "watch": Limit(WATCH_LASTS_SECONDS, "seconds", "expires; ask again"),
    "token": Limit(TOKEN_BYTES, "bytes", "unauthenticated"),
}
