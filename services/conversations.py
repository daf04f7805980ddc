"""`/api/conversations`, `/api/messages`, `/api/sync`: reading. Nothing here writes."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from msgspec import Raw, Struct
from pydantic import Field

from services import entries
from services.bearer import Authenticated
from services.bodies import Body
from services.deps import Deps, Given
from services.metrics import Metrics
from stores import visible
from stores.marks import shown_marks
from stores.ports.log import HeadOf
from tidings.protocol import codec, ids, limits, payloads
from tidings.protocol.ids import UserId

routes = APIRouter(tags=["conversations"])

_LIST_PAGE = 50
_UNREAD_MOST = 100
"""Unread messages are counted among the last hundred entries: `unread` 100 means "99+"."""

Conv = Annotated[str, Path(description="conversation id")]
Seq = Annotated[int, Path(ge=1, le=2**53)]
Bound = Annotated[int | None, Query(ge=0, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=limits.HISTORY_PAGE_MOST)]


class MemberView(Body):
    """A present member: `member` or `admin`."""

    user: str
    role: str


class MarkView(Body):
    """How far a member has come: seqs."""

    user: str
    delivered: int = 0
    read: int = 0


class ConversationView(Body):
    """A conversation as the caller sees it. `last` is its last entry, `unread` at most 100. After the caller has left,
    name, description and members are no longer told."""

    conv: str
    kind: str
    active: bool
    role: str
    name: str
    description: str
    history: bool
    created_at: int
    first: int
    head: int
    receipts: int
    unread: int
    members: list[MemberView]
    marks: list[MarkView]
    last: dict[str, Any] | None = None


class ConversationsView(Body):
    """A page of the caller's conversations, ascending by id; `nextCursor` continues as `after`."""

    conversations: list[ConversationView]
    has_more: bool
    next_cursor: str


class HistoryView(Body):
    """Entries ascending by `seq`, every number answered; `nextCursor` continues in the direction asked (as `after`, or
    else `before`), 0 at the end. `first … head` is what the caller may see at all; `receipts` the receipt version."""

    messages: list[dict[str, Any]]
    has_more: bool
    next_cursor: int
    first: int
    head: int
    receipts: int
    marks: list[MarkView]


class ToldView(Body):
    """When one member received and read an entry (ms UTC); 0: not yet, or not told."""

    user: str
    delivered_at: int
    read_at: int


class InfoView(Body):
    """Who received and read an entry."""

    conv: str
    seq: int
    members: list[ToldView]


class HeadView(Body):
    """Where one conversation stands: entries `first … seq`, receipts at `receipts`."""

    conv: str
    first: int
    seq: int
    receipts: int


class HeadsView(Body):
    """Where the caller's conversations stand; `next` continues as `after`, empty on the last page."""

    heads: list[HeadView]
    next: str = Field("", examples=[""])


class _History(Struct, rename="camel"):
    messages: tuple[Raw, ...]
    has_more: bool
    next_cursor: int
    first: int
    head: int
    receipts: int
    marks: tuple[payloads.Mark, ...]


class _Conversation(Struct, rename="camel"):
    conv: str
    kind: str
    active: bool
    role: str
    name: str
    description: str
    history: bool
    created_at: int
    first: int
    head: int
    receipts: int
    unread: int
    members: list[dict[str, str]]
    marks: tuple[payloads.Mark, ...]
    last: Raw | None


class _Conversations(Struct, rename="camel"):
    conversations: list[_Conversation]
    has_more: bool
    next_cursor: str


@routes.get("/api/conversations", response_model=ConversationsView)
async def conversations(
    caller: Authenticated, deps: Given, after: str = "", limit: Annotated[int, Query(ge=1, le=200)] = _LIST_PAGE
) -> Response:
    """List the caller's conversations, also those that were left."""
    heads = await deps.log.heads(caller.user, after, limit + 1)
    page = heads[:limit]
    shown = [found for head in page if (found := await _conversation(deps, head, caller.user)) is not None]
    more = len(heads) > limit
    return _json(_Conversations(shown, more, page[-1].conv if more else ""))


@routes.get("/api/conversations/{conv}", response_model=ConversationView)
async def conversation(conv: Conv, caller: Authenticated, deps: Given) -> Response:
    """Show one conversation with its members and marks."""
    view = await entries.open_view(deps.log, ids.conv_id(conv), caller.user)
    return _json(await _shown(deps, view))


@routes.get("/api/messages/{conv}", response_model=HistoryView)
async def messages(
    conv: Conv,
    caller: Authenticated,
    deps: Given,
    request: Request,
    before: Bound = None,
    after: Bound = None,
    limit: Limit = limits.HISTORY_PAGE,
) -> Response:
    """Read history: the newest, the newest below `before`, or the oldest above `after`. What the caller may not see is
    a tombstone."""
    view = await entries.open_view(deps.log, ids.conv_id(conv), caller.user)
    page = await entries.history(deps.log, view, after, before, limit)
    if page.missing:
        metrics: Metrics = request.app.state.metrics
        metrics.missing_rows.inc(len(page.missing))
    return _json(
        _History(
            messages=tuple(map(Raw, page.entries)),
            has_more=page.cursor > 0,
            next_cursor=page.cursor,
            first=view.first,
            head=view.head,
            receipts=view.receipts,
            marks=await shown_marks(deps.log, view.snapshot, view.member),
        )
    )


@routes.get("/api/messages/{conv}/{seq}/info")
async def info(conv: Conv, seq: Seq, caller: Authenticated, deps: Given) -> InfoView:
    """Tell who received and who read an entry, and when."""
    view = await entries.open_view(deps.log, ids.conv_id(conv), caller.user)
    told = await entries.receipts_of(deps.log, view, seq)
    return InfoView(
        conv=conv,
        seq=seq,
        members=[ToldView(user=one.user, delivered_at=one.delivered_at, read_at=one.read_at) for one in told],
    )


@routes.get("/api/sync")
async def sync(
    caller: Authenticated, deps: Given, after: str = "", limit: Annotated[int, Query(ge=1, le=500)] = limits.HEADS_PAGE
) -> HeadsView:
    """Tell where the caller's conversations stand: compare, then read what is missing."""
    heads = await deps.log.heads(caller.user, after, limit + 1)
    page = heads[:limit]
    return HeadsView(
        heads=[HeadView(conv=one.conv, first=one.first, seq=one.head, receipts=one.receipts) for one in page],
        next=page[-1].conv if len(heads) > limit else "",
    )


async def _conversation(deps: Deps, head: HeadOf, user: UserId) -> _Conversation | None:
    snapshot = await deps.log.header(head.conv)
    return await _shown(deps, entries.view_of(snapshot, user)) if snapshot else None


async def _shown(deps: Deps, view: entries.View) -> _Conversation:
    header, active = view.conversation, view.member.active
    tail = await deps.log.rows(header.conv, max(view.first, view.head - _UNREAD_MOST + 1), view.head)
    return _Conversation(
        conv=header.conv,
        kind=header.kind,
        active=active,
        role=view.member.role,
        name=header.name if active else "",
        description=header.description if active else "",
        history=header.history,
        created_at=header.created_at,
        first=view.first,
        head=view.head,
        receipts=view.receipts,
        unread=entries.unread(tail, view),
        members=[{"user": m.user, "role": m.role} for m in view.snapshot.members if m.active and active],
        marks=await shown_marks(deps.log, view.snapshot, view.member),
        last=Raw(visible.visible(tail[-1], view.member)) if tail else None,
    )


def _json(value: Struct) -> Response:
    """Answer with a struct: entries go out as the bytes that were stored."""
    return Response(codec.encode(value), media_type="application/json")
