"""Who asks: the access token in `Authorization: Bearer`, the same that opens an MQTT connection."""

from typing import Annotated, NamedTuple

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.deps import Given
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, UserId

_ROLES = ("person", "device", "admin")
_scheme = HTTPBearer(auto_error=False, bearerFormat="JWT", description="The `token` of the login answer")


class Caller(NamedTuple):
    """The user and device of a verified token."""

    user: UserId
    device: DeviceId


async def caller_of(
    deps: Given, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
) -> Caller:
    """Verify the token. Raises `Refusal(unauthenticated | tokenExpired)`."""
    if credentials is None:
        raise Refusal(Code.UNAUTHENTICATED, "send the access token as 'Authorization: Bearer …'")
    claims = deps.verifier.verify(credentials.credentials, deps.clock())
    if claims.role not in _ROLES or deps.revocations.voids(claims.user, claims.device, claims.issued_at):
        raise Refusal(Code.UNAUTHENTICATED, "this device was logged out; log in again")
    try:
        return Caller(ids.user_id(claims.user), ids.device_id(claims.device))
    except Refusal:
        raise Refusal(Code.UNAUTHENTICATED, "the token names no user or device of ours") from None


Authenticated = Annotated[Caller, Depends(caller_of)]
