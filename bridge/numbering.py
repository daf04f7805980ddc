"""Numbered events: entries of a conversation's log that are not messages (created, added, removed …)."""

from typing import Any

from msgspec import Struct

from bridge.state import State
from stores.ports.entries import Row
from tidings.protocol.codec import encode
from tidings.protocol.ids import DeviceId, MessageId, UserId
from tidings.protocol.payloads import Message


class Event(Struct, frozen=True):
    """What an event says: its kind and the fields that `events.KINDS` names."""

    kind: str
    data: dict[str, Any]


def event(kind: str, **data: Any) -> Event:
    """Build an event of a kind of the table."""
    return Event(kind, data)


def numbered(
    state: State,
    at: int,
    *,
    sender: UserId,
    device: DeviceId,
    id_: MessageId,
    content: Event,
    digest: bytes = b"",
    after: int = 0,
    hidden: tuple[UserId, ...] = (),
) -> Row:
    """Give an event the next number, or the one `after` further entries of the same decision."""
    seq = state.head + 1 + after
    at = max(at, state.last_at)
    message = Message(
        conv=state.conv, seq=seq, id=id_, from_=sender, device=device, at=at, kind=content.kind, data=content.data
    )
    return Row(state.conv, seq, id_, sender, device, at, content.kind, encode(message), digest, hidden)
