"""`/api/blocks`: whose messages never reach the caller."""

from fastapi import APIRouter, Response

from services.bearer import Authenticated
from services.bodies import Body
from services.deps import Given
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal

routes = APIRouter(tags=["blocks"])


class Blocked(Body):
    """User ids that the caller blocks."""

    users: list[str]


@routes.get("/api/blocks")
async def blocks(caller: Authenticated, deps: Given) -> Blocked:
    """List whom the caller blocks."""
    return Blocked(users=list(await deps.blocks.blocked(caller.user)))


@routes.post("/api/blocks/{user}", status_code=204)
async def block(user: str, caller: Authenticated, deps: Given) -> Response:
    """Block a user: what it sends from now on is hidden from the caller. Again is no error."""
    blocked = ids.user_id(user)
    if blocked == caller.user:
        raise Refusal(Code.BAD_VALUE, "user: nobody can block themselves")
    if await deps.users.by_id(blocked) is None:
        raise Refusal(Code.UNKNOWN_RECIPIENT)
    await deps.blocks.block(caller.user, blocked, deps.clock())
    return Response(status_code=204)


@routes.delete("/api/blocks/{user}", status_code=204)
async def unblock(user: str, caller: Authenticated, deps: Given) -> Response:
    """Unblock a user; what was hidden stays hidden. Again is no error."""
    await deps.blocks.unblock(caller.user, ids.user_id(user))
    return Response(status_code=204)
