"""Fan-out: which messages an entry, a receipt or a refusal causes.

Rules
- One publish per member user, to all whose windows hold the number and from whom it is not hidden; the sender always
  gets its own copy back: that is its acknowledgement.
- It obeys the stored row and the windows, never today's opinion: publishing again after a take-over gives the same.
- Fanned-out payloads are JSON, encoded once; what answers one device has the encoding of its request.
"""

from collections.abc import Iterable, Mapping

from bridge.intake import Sender
from stores.ports.entries import MarkMove, Member, Row
from tidings.protocol import codec
from tidings.protocol.codec import Encoding
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import ConvId, UserId
from tidings.protocol.link import Outbound
from tidings.protocol.payloads import (
    Command,
    CommandReply,
    ErrorNotice,
    Message,
    PresenceNotice,
    Receipt,
    Typing,
    Wire,
    is_event,
)


def entry(row: Row, members: Mapping[UserId, Member], users: Iterable[UserId]) -> list[Outbound]:
    """Publish a row to those of `users` who may see it."""
    end = "/in/event" if is_event(row.kind) else "/in/msg"
    payload, seq, hidden = row.payload, row.seq, row.hidden_for
    return [
        Outbound(f"u/{user}{end}", payload)
        for user in users
        if members[user].sees(seq) and (not hidden or user not in hidden)
    ]


def copy(row: Row, to: Sender) -> Outbound:
    """Answer a repeat: the stored canonical copy, to that device alone."""
    kind = "event" if is_event(row.kind) else "msg"
    payload = row.payload
    if to.encoding is not Encoding.JSON:
        payload = codec.encode(codec.decode(row.payload, Message), to.encoding)
    return Outbound(f"u/{to.user}/{to.device}/in/{kind}", payload)


def receipt(move: MarkMove, users: Iterable[UserId]) -> list[Outbound]:
    """Tell a watermark's move."""
    notice = Receipt(move.conv, move.user, move.kind, move.from_, move.to, move.at, move.version)
    payload = codec.encode(notice)
    return [Outbound(f"u/{user}/in/receipt", payload) for user in users]


def typing(conv: ConvId, user: UserId, active: bool, users: Iterable[UserId]) -> list[Outbound]:
    """Tell that someone types; QoS 0."""
    payload = codec.encode(Typing(conv, user, active))
    return [Outbound(f"u/{other}/in/typing", payload, 0) for other in users]


def presence(notice: PresenceNotice, watchers: Iterable[UserId]) -> list[Outbound]:
    """Tell a user's presence to its watchers; QoS 0."""
    payload = codec.encode(notice)
    return [Outbound(f"u/{watcher}/in/presence", payload, 0) for watcher in watchers]


def error(refusal: Refusal, to: Sender, *, id_: str = "", conv: str = "") -> Outbound:
    """Tell a device why its request was not carried out."""
    notice = ErrorNotice(id_, str(refusal.code), refusal.text, conv, refusal.retry_after)
    return Outbound(f"u/{to.user}/{to.device}/in/error", _say(notice, to.encoding))


def answer(reply: Wire, to: Sender) -> Outbound:
    """Answer a device's question."""
    return Outbound(f"u/{to.user}/{to.device}/in/reply", _say(reply, to.encoding))


def done(command: Command, seq: int) -> Outbound:
    """Tell a service that its command is done, as entry `seq`, 0 for none."""
    return Outbound(command.reply_to, codec.encode(CommandReply(command.id, seq=seq)))


def refused(command: Command, refusal: Refusal) -> Outbound:
    """Tell a service that its command is refused."""
    reply = CommandReply(command.id, str(refusal.code), refusal.text, 0, refusal.retry_after)
    return Outbound(command.reply_to, codec.encode(reply))


def _say(notice: Wire, encoding: Encoding) -> bytes:
    try:
        return codec.encode(notice, encoding)
    except Refusal:
        # A text quoted from the request may have lone surrogates; what cannot be said is left out.
        assert isinstance(notice, ErrorNotice)
        return codec.encode(ErrorNotice("", notice.code, "the request's text is not valid Unicode"), encoding)
