"""What is asked of a conversation's writer: messages, receipts, groups and their members. Each is one command.

Rules
- `Idempotency-Key` (or a message's own `id`) makes a retry safe: the same key of the same device is the same command.
- A key is hashed with the verb, so that it may have any form and two users may use the same one.
- The writer decides; what is checked here is only what needs no state, so that a bad request costs no round trip.
"""

import base64
import hashlib
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header
from pydantic import Field

from services.bearer import Authenticated, Caller
from services.bodies import Body
from services.commands import Order
from services.conversations import Conv
from services.deps import Deps, Given
from tidings.protocol import commands, ids, limits, payloads
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, MessageId, UserId
from tidings.protocol.payloads import SendMessage, Wire

routes = APIRouter(tags=["writing"])

_ROLES: Final = ("admin", "member")

Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255, description="makes a retry safe")]
Text = Annotated[str, Field(max_length=4 * limits.NAME_CHARS)]
About = Annotated[str, Field(max_length=4 * limits.ABOUT_CHARS)]
User = Annotated[str, Field(max_length=64, description="user id")]


class Send(Body):
    """A message, to a user (`to`) or into a conversation (`conv`). What else it holds is as over MQTT."""

    to: User = ""
    conv: Annotated[str, Field(max_length=64)] = ""
    id: Annotated[str, Field(max_length=36)] = ""
    body: str = ""
    kind: str = "text"
    sent_at: int = 0
    reply_to: int = 0
    forwarded_from: dict[str, Any] | None = None
    attachments: Annotated[list[dict[str, Any]], Field(default_factory=list)]
    mentions: Annotated[list[str], Field(default_factory=list)]


class Sent(Body):
    """The message is stored: its canonical id is (`conv`, `seq`)."""

    conv: str
    seq: int
    id: str


class Receipt(Body):
    """All up to entry `to` is `delivered` or `read`."""

    kind: str
    to: Annotated[int, Field(ge=1, le=2**53)]


class NewGroup(Body):
    """A group. `history`: do new members see the last 100 entries?"""

    name: Text
    members: Annotated[list[User], Field(default_factory=list)]
    description: About = ""
    history: bool = True


class GroupChange(Body):
    """What is left out stays."""

    name: Text | None = None
    description: About | None = None
    history: bool | None = None


class NewMembers(Body):
    """Users to add."""

    members: list[User]


class NewRole(Body):
    """`admin` or `member`."""

    role: str


class Done(Body):
    """It is carried out: entry `seq` of the conversation says so (0: there was nothing to change)."""

    conv: str
    seq: int


@routes.post("/api/messages", status_code=201)
async def send(body: Send, caller: Authenticated, deps: Given, key: Key = "") -> Sent:
    """Send a message and wait until it is stored: for those who cannot hold an MQTT connection."""
    message = _message(body, caller, key, deps)
    conv = _target(body, caller)
    done = await _do(deps, caller, "message.send", conv, message, _derived("message.send", caller, message.id))
    return Sent(conv=conv, seq=done.seq, id=message.id)


@routes.post("/api/messages/{conv}/receipts")
async def receipt(conv: Conv, body: Receipt, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Move the caller's delivered or read mark."""
    if body.kind not in payloads.RECEIPT_KINDS:
        raise Refusal(Code.BAD_VALUE, "kind: 'delivered' or 'read'")
    return await _ask(deps, caller, "receipt", conv, commands.MarkRead(body.kind, body.to), key)


@routes.post("/api/groups", status_code=201)
async def create_group(body: NewGroup, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Create a group; the caller is its first admin."""
    args = commands.CreateGroup(
        name=payloads.clean_name(body.name),
        members=_users(body.members, least=0),
        description=payloads.clean_about(body.description),
        history=body.history,
    )
    request = _derived("group.create", caller, key or _fresh(deps))
    conv = ids.group_conversation(caller.user, request)
    return await _do(deps, caller, "group.create", conv, args, request)


@routes.put("/api/groups/{conv}")
async def change_group(conv: Conv, body: GroupChange, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Change a group's name, description or rule for new members."""
    args = commands.ChangeGroup(
        name=None if body.name is None else payloads.clean_name(body.name),
        description=None if body.description is None else payloads.clean_about(body.description),
        history=body.history,
    )
    if args == commands.ChangeGroup():
        raise Refusal(Code.BAD_VALUE, "name, description or history: one of them at least")
    return await _ask(deps, caller, "group.change", conv, args, key)


@routes.post("/api/groups/{conv}/members")
async def add_members(conv: Conv, body: NewMembers, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Add members to a group, as its admin."""
    return await _ask(deps, caller, "member.add", conv, commands.AddMembers(_users(body.members, least=1)), key)


@routes.delete("/api/groups/{conv}/members/{user}")
async def remove_member(conv: Conv, user: str, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Remove a member, as an admin; of oneself, it is leaving."""
    return await _ask(deps, caller, "member.remove", conv, commands.RemoveMember(ids.user_id(user)), key)


@routes.put("/api/groups/{conv}/members/{user}/role")
async def set_role(conv: Conv, user: str, body: NewRole, caller: Authenticated, deps: Given, key: Key = "") -> Done:
    """Make a member an admin, or an admin a member."""
    if body.role not in _ROLES:
        raise Refusal(Code.BAD_VALUE, "role: 'admin' or 'member'")
    return await _ask(deps, caller, "member.role", conv, commands.SetRole(ids.user_id(user), body.role), key)


async def _ask(deps: Deps, caller: Caller, verb: str, conv: str, args: Wire, key: str) -> Done:
    """Give an order that concerns an existing conversation."""
    target = ids.conv_id(conv)
    return await _do(deps, caller, verb, target, args, _derived(verb, caller, key or _fresh(deps), target))


async def _do(deps: Deps, caller: Caller, verb: str, conv: ConvId, args: Wire, request: MessageId) -> Done:
    _check_cell(conv)
    reply = await deps.commands.call(Order(verb, conv, caller.user, caller.device, request, args))
    return Done(conv=conv, seq=reply.seq)


def _message(body: Send, caller: Caller, key: str, deps: Deps) -> SendMessage:
    """Build the message as it would have come over MQTT, and check it."""
    given = body.model_dump(by_alias=True, exclude={"conv", "id"}, exclude_none=True)
    given["id"] = ids.message_id(body.id) if body.id else _own_id(caller, key or _fresh(deps))
    try:
        message = msgspec.convert(given, SendMessage)
    except msgspec.ValidationError as error:
        raise Refusal(Code.BAD_VALUE, str(error)[:200]) from None
    payloads.check_message(message)
    return message


def _target(body: Send, caller: Caller) -> ConvId:
    """Tell where a message goes. Raises `Refusal(badValue | badId)`."""
    if not body.to and not body.conv:
        raise Refusal(Code.BAD_VALUE, "to, conv: name the user or the conversation")
    direct = ids.direct_conversation(caller.user, ids.user_id(body.to)) if body.to else None
    if body.conv and direct not in (None, body.conv):
        raise Refusal(Code.BAD_VALUE, "to, conv: they name different conversations; send one of them")
    return direct or ids.conv_id(body.conv)


def _users(users: list[str], *, least: int) -> tuple[UserId, ...]:
    """Check a list of user ids: each once, no more than a group holds."""
    if not least <= len(users) <= limits.GROUP_MEMBERS:
        raise Refusal(Code.BAD_VALUE, f"members: {least}–{limits.GROUP_MEMBERS} users, not {len(users)}")
    return tuple(ids.user_id(user) for user in dict.fromkeys(users))


def _check_cell(conv: ConvId) -> None:
    if ids.cell_of(conv) != ids.CELL:
        raise Refusal(Code.WRONG_CELL)


def _own_id(caller: Caller, key: str) -> MessageId:
    """Take a key for a message's id where its form allows, and derive one where not."""
    try:
        return ids.message_id(key)
    except Refusal:
        return _derived("message", caller, key)


def _derived(verb: str, caller: Caller, key: str, conv: str = "") -> MessageId:
    """Derive a command's id from who asked what under which key: replies are told apart by it alone."""
    said = "\0".join((verb, caller.user, caller.device, conv, key)).encode("utf-8", "surrogatepass")
    return MessageId(base64.urlsafe_b64encode(hashlib.sha256(said).digest()[:24]).decode())


def _fresh(deps: Deps) -> str:
    return base64.urlsafe_b64encode(deps.entropy(18)).decode()
