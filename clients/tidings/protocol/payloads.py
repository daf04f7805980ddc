"""Payload structs: what devices publish, what the bridge publishes, what services and bridges say to each other.

Rules
- camelCase outside, snake_case inside. Unknown fields are ignored; unknown kinds are kept as they are.
- Times are integers, milliseconds since 1970-01-01 UTC. `sentAt` is a client's clock and decides nothing.
- A numbered entry of a conversation's log is one struct, `Message`, whatever its kind: text, membership
  (`member.added` …) or `tombstone`. Kinds with a dot are events and travel on `in/event`, others on `in/msg`.
- `check_*` refuses values outside the limits; it is called by whoever receives, never trusted from a sender.
"""

import unicodedata
from typing import Any, Final

from msgspec import Raw, Struct, field

from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId


class Wire(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What every payload has in common: immutable, camelCase, defaults left out."""


class Attachment(Wire, frozen=True):
    """A file of a message. `sha256` in hex; `size` bytes; `width`, `height` pixels; `duration` ms;
    `thumbnail` a small image, base64, at most 4 KiB."""

    media: str
    type: str
    size: int
    sha256: str
    name: str = ""
    width: int = 0
    height: int = 0
    duration: int = 0
    thumbnail: bytes = b""


class Forwarded(Wire, frozen=True):
    """Where a forwarded message came from, as far as its forwarder tells."""

    conv: ConvId = ConvId("")
    seq: int = 0
    times: int = 1


# What devices publish.


class SendMessage(Wire, frozen=True):
    """`out/…/msg`. `to` names the recipient of a direct conversation's first message (the id cannot be inverted)."""

    id: MessageId
    body: str = ""
    kind: str = "text"
    to: UserId = UserId("")
    sent_at: int = 0
    reply_to: int = 0
    forwarded_from: Forwarded | None = None
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[UserId, ...] = ()


class SendReceipt(Wire, frozen=True):
    """`out/…/receipt`: all of `(from, to]` is `delivered` to, or `read` on, this device."""

    kind: str
    from_: int = field(name="from")
    to: int


class SendTyping(Wire, frozen=True):
    """`out/…/typing`, QoS 0. `active` false is the explicit stop."""

    active: bool = True


class DoHeads(Wire, frozen=True):
    """`do/…/heads`: where do my conversations stand? `after` continues a cut page."""

    id: MessageId
    after: str = ""


class DoSync(Wire, frozen=True):
    """`do/…/sync`: history of one conversation, seqs in `(after, before)`, oldest first when `after` is given."""

    id: MessageId
    conv: ConvId
    after: int = -1
    before: int = 0
    limit: int = limits.HISTORY_PAGE


class DoWatch(Wire, frozen=True):
    """`do/…/watch`: whose presence this device looks at for the next 60 s."""

    id: MessageId
    users: tuple[UserId, ...] = ()


class DeviceState(Wire, frozen=True):
    """`state/{lane}`, and the will: `status` is `online`, `away` or `offline`; `connection` is made new by the
    device at
    each connect and repeated in its will, so that a stale will cannot mark a live device offline."""

    status: str
    connection: str


# What the bridge publishes.


class Message(Wire, frozen=True):
    """A numbered entry of a conversation's log: the canonical copy. `at` is the server's time.

    A tombstone has kind `tombstone` and nothing but its number: hidden from this member, deleted or expired.
    For events, `data` holds what the kind's row in `events.KINDS` names.
    """

    conv: ConvId
    seq: int
    id: MessageId = MessageId("")
    from_: UserId = field(default=UserId(""), name="from")
    device: DeviceId = DeviceId("")
    sent_at: int = 0
    at: int = 0
    kind: str = field(default_factory=lambda: "text")  # always on the wire, unlike a default
    body: str = ""
    reply_to: int = 0
    forwarded_from: Forwarded | None = None
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[UserId, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


class Receipt(Wire, frozen=True):
    """`in/receipt`: `user` has `delivered` or `read` all of `(from, to]`; `version` counts the conversation's moves."""

    conv: ConvId
    user: UserId
    kind: str
    from_: int = field(name="from")
    to: int
    at: int
    version: int


class Typing(Wire, frozen=True):
    """`in/typing`: shown until a stop or 3 s have passed."""

    conv: ConvId
    user: UserId
    active: bool = True


class PresenceNotice(Wire, frozen=True):
    """`in/presence`: to those who watch. `lastSeen` ms, 0 when not told."""

    user: UserId
    status: str
    last_seen: int = 0


class ErrorNotice(Wire, frozen=True):
    """`{device}/in/error`: the request `id` was not carried out. `retryAfter` seconds."""

    id: str
    code: str
    text: str
    conv: str = ""
    retry_after: float = 0.0


class Head(Wire, frozen=True):
    """Where one conversation stands for the asking user: entries `first … seq`, receipts at `receipts`."""

    conv: ConvId
    first: int
    seq: int
    receipts: int = 0


class HeadsReply(Wire, frozen=True, tag_field="kind", tag="heads"):
    """`{device}/in/reply` to `heads`. `next` is empty on the last page."""

    id: MessageId
    heads: tuple[Head, ...] = ()
    next: str = ""


class Mark(Wire, frozen=True):
    """How far one member has come: watermarks, seqs."""

    user: UserId
    delivered: int = 0
    read: int = 0


class SyncReply(Wire, frozen=True, tag_field="kind", tag="sync"):
    """`{device}/in/reply` to `sync`, and the answer of `GET /api/messages/{conv}`. Every seq asked is answered.
    `marks` are those the asker may see, at receipt version `receipts`."""

    id: MessageId
    conv: ConvId
    messages: tuple[Message, ...] = ()
    has_more: bool = False
    first: int = 0
    head: int = 0
    marks: tuple[Mark, ...] = ()
    receipts: int = 0


class WatchReply(Wire, frozen=True, tag_field="kind", tag="watch"):
    """`{device}/in/reply` to `watch`: what is known now."""

    id: MessageId
    users: tuple[PresenceNotice, ...] = ()


# What services and lane owners say to each other, never client-visible.


class Command(Wire, frozen=True):
    """`s/{lane}/do`: carry out `verb` on a conversation for `user`; the owner refuses it after `deadline` (ms, its own
    clock) and answers on `replyTo`. `args` is the verb's own struct (`commands.py`)."""

    id: MessageId
    verb: str
    conv: ConvId
    user: UserId
    reply_to: str
    deadline: int
    args: Raw = field(default_factory=lambda: Raw(b"{}"))
    device: DeviceId = DeviceId("")


class CommandReply(Wire, frozen=True):
    """`s/api/{process}/re`: `code` is empty when done; `seq` is the entry it made, 0 for none."""

    id: MessageId
    code: str = ""
    text: str = ""
    seq: int = 0
    retry_after: float = 0.0


RECEIPT_KINDS: Final = ("delivered", "read")
STATES: Final = ("online", "away", "offline")


def clean_text(value: str, *, most: int, least: int = 0, what: str) -> str:
    """Trim, normalise (NFC) and check a one-line text: `least`–`most` characters, no control characters."""
    text = unicodedata.normalize("NFC", value).strip()
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise Refusal(Code.BAD_VALUE, f"{what} must not have control characters")
    if not least <= len(text) <= most:
        raise Refusal(Code.BAD_VALUE, f"{what} must have {least}–{most} characters, not {len(text)}")
    return text


def clean_name(value: str) -> str:
    """Check a person's or group's name: 1–255 characters."""
    return clean_text(value, least=1, most=limits.NAME_CHARS, what="a name")


def clean_about(value: str, *, what: str = "a description") -> str:
    """Check a description: up to 2,048 characters on any number of lines, each cleaned as `clean_text` says."""
    lines = (clean_text(line, most=limits.ABOUT_CHARS, what=what) for line in value.splitlines())
    text = "\n".join(lines).strip()
    if len(text) > limits.ABOUT_CHARS:
        raise Refusal(Code.BAD_VALUE, f"{what} must have 0–{limits.ABOUT_CHARS} characters, not {len(text)}")
    return text


def check_message(message: SendMessage) -> None:
    """Refuse a message outside the limits. The body stays as it is: it may be ciphertext."""
    size = len(message.body.encode("utf-8", "surrogatepass"))
    if size > limits.TEXT_BYTES:
        raise Refusal(Code.TOO_LARGE, f"a text has at most {limits.TEXT_BYTES} bytes, not {size}")
    if not message.body and not message.attachments:
        raise Refusal(Code.BAD_VALUE, "a message needs a body or an attachment")
    if "." in message.kind or message.kind in ("", "tombstone") or len(message.kind) > 32:
        raise Refusal(Code.BAD_VALUE, f"not a kind of message: {message.kind[:40]!r}")
    if len(message.mentions) > limits.MENTIONS:
        raise Refusal(Code.BAD_VALUE, f"at most {limits.MENTIONS} mentions, not {len(message.mentions)}")
    if message.reply_to < 0:
        raise Refusal(Code.BAD_VALUE, "replyTo must be the seq of a message")
    check_attachments(message.attachments)


def check_attachments(attachments: tuple[Attachment, ...]) -> None:
    """Refuse attachments outside the limits."""
    if len(attachments) > limits.ATTACHMENTS:
        raise Refusal(Code.BAD_VALUE, f"at most {limits.ATTACHMENTS} attachments, not {len(attachments)}")
    for attachment in attachments:
        if not 0 <= attachment.size <= limits.ATTACHMENT_BYTES:
            raise Refusal(Code.TOO_LARGE, f"an attachment has at most {limits.ATTACHMENT_BYTES} bytes")
        if len(attachment.thumbnail) > limits.THUMBNAIL_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a thumbnail has at most {limits.THUMBNAIL_BYTES} bytes")
        if min(attachment.width, attachment.height, attachment.duration) < 0:
            raise Refusal(Code.BAD_VALUE, "an attachment's width, height and duration must not be negative")
        if len(attachment.sha256) != 64 or not set(attachment.sha256) <= set("0123456789abcdef"):
            raise Refusal(Code.BAD_VALUE, "an attachment's sha256 must be 64 lower-case hex digits")
        clean_text(attachment.name, most=limits.NAME_CHARS, what="an attachment's name")
        clean_text(attachment.type, least=3, most=127, what="an attachment's type")


def check_receipt(receipt: SendReceipt) -> None:
    """Refuse a receipt that is no forward range."""
    if receipt.kind not in RECEIPT_KINDS:
        raise Refusal(Code.BAD_VALUE, "a receipt's kind is 'delivered' or 'read'")
    if not 0 <= receipt.from_ < receipt.to:
        raise Refusal(Code.BAD_VALUE, "a receipt's range (from, to] must go forward")


def is_event(kind: str) -> bool:
    """Tell whether an entry of this kind travels on `in/event` (a dot in it) rather than on `in/msg`."""
    return "." in kind
