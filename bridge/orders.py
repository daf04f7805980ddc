"""What can be asked of a conversation, whoever asked and however it came: one sum type."""

from msgspec import Struct

from tidings.protocol.commands import AddMembers, ChangeGroup, CreateGroup, MarkRead, RemoveMember, SetRole
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import SendMessage, SendReceipt, SendTyping

Change = CreateGroup | ChangeGroup | AddMembers | RemoveMember | SetRole


class Say(Struct, frozen=True):
    """Say a message. `digest` (16 bytes) is of what is said, not of when or through which door."""

    conv: ConvId
    user: UserId
    device: DeviceId
    message: SendMessage
    digest: bytes


class Acknowledge(Struct, frozen=True):
    """Move a watermark."""

    conv: ConvId
    user: UserId
    receipt: SendReceipt | MarkRead


class Type(Struct, frozen=True):
    """Show, or stop showing, that someone types. Never stored."""

    conv: ConvId
    user: UserId
    device: DeviceId
    typing: SendTyping


class Alter(Struct, frozen=True):
    """Create a group, or change its settings, members or roles. `id` is the request's idempotency key."""

    conv: ConvId
    user: UserId
    device: DeviceId
    id: MessageId
    change: Change
    digest: bytes


Order = Say | Acknowledge | Type | Alter
