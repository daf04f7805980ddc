"""Intake: an inbound message to what it asks for, or to a refusal and whoever can be told.

Rules
- The sender is what the topic says (promise 5); nothing in the payload changes it.
- Any topic and any bytes give an `Item` or raise `Unreadable`; nothing else (fuzzed).
- What is not of the protocol (foreign topic, undecodable bytes) is `dead`: kept for people to look at. What is readable
  but wrong is refused to its sender alone.
- A digest is of what is said: kind, body and what hangs on it. Not of the client's clock, nor of `to`.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, assert_never

import msgspec
from msgspec import Struct

from bridge.asking import Request
from bridge.orders import Acknowledge, Alter, Change, Order, Say, Type
from tidings.protocol import codec, ids, payloads, topics
from tidings.protocol.codec import Encoding
from tidings.protocol.commands import COMMANDS, MarkRead
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Cell, ConvId, DeviceId, MessageId, UserId
from tidings.protocol.link import Inbound
from tidings.protocol.payloads import (
    Command,
    DeviceState,
    DoHeads,
    DoSync,
    DoWatch,
    SendMessage,
    SendReceipt,
    SendTyping,
    Wire,
)

DIGEST_BYTES: Final = 16
WATCH: Final = "presence.watch"
"""The verb by which a lane's owner passes a device's `watch` on to the owners of the watched users' lanes."""


class Sender(Struct, frozen=True):
    """Whom to tell: a device, and the encoding it speaks."""

    user: UserId
    device: DeviceId
    encoding: Encoding = Encoding.JSON


class Watch(Struct, frozen=True):
    """`watcher` looks at the presence of these users of this lane group."""

    watcher: UserId
    users: tuple[UserId, ...]


class Appear(Struct, frozen=True):
    """A device tells its own state."""

    user: UserId
    device: DeviceId
    state: DeviceState


Wish = Order | Request | Appear | Watch


class Item(Struct, eq=False):
    """One inbound message on its way: what it asks for, whom to tell, and what to acknowledge in the end.

    `command` is set when a service asked: it is answered on its `reply_to`, and `sender` is None."""

    inbound: Inbound
    wish: Wish
    sender: Sender | None
    id: str = ""
    command: Command | None = None


class Unreadable(Exception):
    """An inbound message that asks for nothing that can be done."""

    def __init__(self, refusal: Refusal, sender: Sender | None, *, id_: str = "", dead: bool = False) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.sender = sender
        self.id = id_
        self.dead = dead
        self.command: Command | None = None


def read(inbound: Inbound, cell: Cell, new_id: Callable[[], MessageId]) -> Item:
    """Read an inbound message. `new_id` names a doormat's text that came without an id. Raises `Unreadable`."""
    try:
        topic = _parse(inbound.topic)
    except Refusal as refusal:
        raise Unreadable(refusal, _sender_of(inbound), dead=True) from None
    if isinstance(topic, topics.LaneDo):
        return _command(inbound, topic)
    if isinstance(topic, topics.UserIn | topics.DeviceIn | topics.Channel | topics.ApiReply):
        raise Unreadable(Refusal(Code.BAD_TOPIC), None, dead=True)
    sender = Sender(topic.user, topic.device, _encoding(inbound.payload))
    item = Item(inbound, _NO_WISH, sender)
    try:
        topics.check_lane(topic)
        _read(item, topic, cell, new_id)
    except Refusal as refusal:
        dead = refusal.code in (Code.BAD_PAYLOAD, Code.BAD_TOPIC)
        raise Unreadable(refusal, sender, id_=item.id, dead=dead) from None
    return item


def digest(*said: object) -> bytes:
    """Tell the digest (16 bytes) of what is said. A text with lone surrogates cannot be said: `Refusal(badPayload)`."""
    try:
        return hashlib.blake2b(_msgpack.encode(said), digest_size=DIGEST_BYTES).digest()
    except UnicodeEncodeError:
        raise Refusal(Code.BAD_PAYLOAD, "the text is not valid Unicode") from None


_msgpack = msgspec.msgpack.Encoder()
_NO_WISH: Final = DoHeads(id=MessageId(""))
_parse = lru_cache(maxsize=16_384)(topics.parse)
"""A device says the same few topics again and again; what does not parse is not remembered."""

_DO: Final[dict[str, type[DoHeads | DoSync | DoWatch]]] = {"heads": DoHeads, "sync": DoSync, "watch": DoWatch}


def _read(
    item: Item,
    topic: topics.Out | topics.Doormat | topics.DoormatPlain | topics.Do | topics.Presence,
    cell: Cell,
    new_id: Callable[[], MessageId],
) -> None:
    match topic:
        case topics.Out():
            _check_cell(topic.conv, cell)
            item.wish = _out(item, topic)
        case topics.Doormat() | topics.DoormatPlain():
            item.wish = _doormat(item, topic, cell, new_id)
        case topics.Do():
            item.wish = _do(item, topic)
        case topics.Presence():
            state = codec.decode(item.inbound.payload, DeviceState)
            if state.status not in payloads.STATES or len(state.connection) > 64:
                raise Refusal(Code.BAD_VALUE, "a status is 'online', 'away' or 'offline', with a connection id")
            item.wish = Appear(topic.user, topic.device, state)
        case _:
            assert_never(topic)


def _out(item: Item, topic: topics.Out) -> Order:
    payload = item.inbound.payload
    if topic.verb == "msg":
        message = codec.decode(payload, SendMessage)
        item.id = message.id
        return _say(topic.conv, topic.user, topic.device, message)
    if topic.verb == "receipt":
        receipt = codec.decode(payload, SendReceipt)
        payloads.check_receipt(receipt)
        return Acknowledge(topic.conv, topic.user, receipt)
    if topic.verb == "typing":
        return Type(topic.conv, topic.user, topic.device, codec.decode(payload, SendTyping))
    raise Refusal(Code.UNSUPPORTED, f"no such verb here: {topic.verb}")


def _say(conv: ConvId, user: UserId, device: DeviceId, message: SendMessage) -> Say:
    ids.message_id(message.id)
    payloads.check_message(message)
    said = digest(
        message.kind, message.body, message.reply_to, message.forwarded_from, message.attachments, message.mentions
    )
    return Say(conv, user, device, message, said)


def _doormat(
    item: Item, topic: topics.Doormat | topics.DoormatPlain, cell: Cell, new_id: Callable[[], MessageId]
) -> Say:
    item.sender = Sender(topic.user, topic.device)
    id_ = topic.id if isinstance(topic, topics.Doormat) else new_id()
    item.id = id_ if isinstance(topic, topics.Doormat) else ""
    conv = ids.direct_conversation(topic.user, topic.peer)
    _check_cell(conv, cell)
    try:
        text = item.inbound.payload.decode()
    except UnicodeDecodeError:
        raise Refusal(Code.BAD_PAYLOAD, "the doormat takes UTF-8 text") from None
    return _say(conv, topic.user, topic.device, SendMessage(id=id_, body=text, to=topic.peer))


def _do(item: Item, topic: topics.Do) -> Request:
    form = _DO.get(topic.verb)
    if form is None:
        raise Refusal(Code.UNSUPPORTED, f"this server does not offer '{topic.verb}' yet")
    request: Request = codec.decode(item.inbound.payload, form)
    item.id = request.id
    ids.message_id(request.id)
    return request


def _command(inbound: Inbound, topic: topics.LaneDo) -> Item:
    try:
        command = codec.decode(inbound.payload, Command)
    except Refusal as refusal:
        raise Unreadable(refusal, None, dead=True) from None
    try:
        return Item(inbound, _wish(command, topic), None, command.id, command)
    except Refusal as refusal:
        unreadable = Unreadable(refusal, None, id_=command.id)
        unreadable.command = command
        raise unreadable from None


def _wish(command: Command, topic: topics.LaneDo) -> Wish:
    if command.verb == WATCH:
        return Watch(command.user, codec.decode(bytes(command.args), DoWatch).users)
    ids.message_id(command.id)
    ids.conv_id(command.conv)
    if ids.lane_of(command.conv) != topic.lane:
        raise Refusal(Code.WRONG_LANE)
    form = COMMANDS.get(command.verb)
    if form is None:
        raise Refusal(Code.UNSUPPORTED, f"no such command: {command.verb}")
    args: Wire = codec.decode(bytes(command.args), form)
    if isinstance(args, SendMessage):
        return _say(command.conv, command.user, command.device, args)
    if isinstance(args, MarkRead):
        if args.kind not in payloads.RECEIPT_KINDS or args.to < 0:
            raise Refusal(Code.BAD_VALUE, "a receipt's kind is 'delivered' or 'read'")
        return Acknowledge(command.conv, command.user, args)
    return _alter(command, args)


def _alter(command: Command, args: Wire) -> Alter:
    assert isinstance(args, Change)
    said = digest(command.verb, args)
    return Alter(command.conv, command.user, command.device, command.id, args, said)


def _check_cell(conv: ConvId, cell: Cell) -> None:
    if ids.cell_of(conv) != cell:
        raise Refusal(Code.WRONG_CELL)


def _encoding(payload: bytes) -> Encoding:
    try:
        return codec.encoding_of(payload)
    except Refusal:
        return Encoding.JSON


def _sender_of(inbound: Inbound) -> Sender | None:
    """Find the device under whose own prefix a malformed topic stands: it alone may publish there."""
    levels = inbound.topic.split("/", 4)
    if len(levels) < 4 or levels[0] != "u":
        return None
    encoding = Encoding.JSON if levels[3] == "to" else _encoding(inbound.payload)
    try:
        return Sender(ids.user_id(levels[1]), ids.device_id(levels[2]), encoding)
    except Refusal:
        return None
