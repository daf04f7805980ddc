"""The gate that every broker asks (`decisions.Gate`): tokens in the MQTT password, ids bound to them.

Rules
- Nothing of a session may change before `authenticate` has returned.
- The username is the token's `sub`, the client id `{sub}:{device}` in exactly the forms of `protocol.ids`; ours are
  `bridge-{group}` and `api-{process}` for both. So no token opens another's session (promise 5).
- Only a name of the role table is a role. A token of a role of ours needs the matching form of ids, and no other has
  it.
- A connection ends at its token's expiry or a little before: by up to a tenth of what it had left, at most a minute, so
  that devices that came together do not leave together.
"""

import hmac
import re
from collections.abc import Callable
from typing import Final

from acl import grants
from acl.decisions import Decision, Principal
from acl.revocations import Revocations
from acl.roles import ROLES
from acl.tokens import Claims, Verifier
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, Group, UserId

_JITTER_MOST: Final = 60_000
_PROCESS: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BRIDGE: Final = "bridge"
_SERVICE: Final = "api"


class TokenGate:
    """A `Gate` over tokens. `fraction` gives a number in [0, 1) at each connect: the jitter's share."""

    def __init__(self, verifier: Verifier, revocations: Revocations, fraction: Callable[[], float]) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._fraction = fraction

    def authenticate(self, client_id: str, username: str | None, password: bytes | None, now: int) -> Principal:
        """Verify token and binding. Raises `Refusal(unauthenticated | tokenExpired | unavailable)`."""
        if not password:
            raise Refusal(Code.UNAUTHENTICATED, "the password is the access token; log in first")
        if not self._revocations.loaded:
            raise Refusal(Code.UNAVAILABLE, "revocations are not read yet", retry_after=1.0)
        claims = self._verifier.verify(password, now)
        name, bound = _binding(claims)
        right = _same(client_id, bound) & _same(username or "", name)
        if not right:
            raise Refusal(Code.UNAUTHENTICATED, "client id and username must be those of the login answer")
        if self._revocations.voids(claims.user, claims.device, claims.issued_at):
            raise Refusal(Code.UNAUTHENTICATED, "this device was logged out; log in again")
        return Principal(
            user=UserId(claims.user),
            device=DeviceId(claims.device),
            role=claims.role,
            client_id=bound,
            username=name,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at - self._jitter(claims.expires_at - now),
            allow=claims.allow,
            deny=claims.deny,
            custodian=claims.role in ROLES and ROLES[claims.role].internal,
        )

    def publish(self, principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
        """Decide a publish, or a will."""
        return grants.may_publish(principal, topic, retain=retain, qos=qos)

    def subscribe(self, principal: Principal, topic_filter: str) -> Decision:
        """Decide a subscription; a shared one needs a grant that names `$share`."""
        return grants.may_subscribe(principal, topic_filter)

    def is_void(self, principal: Principal, now: int) -> bool:
        """Tell whether the connection must end now."""
        return now >= principal.expires_at or self._revocations.voids(
            principal.user, principal.device, principal.issued_at
        )

    def _jitter(self, left: int) -> int:
        return int(min(_JITTER_MOST, left // 10) * self._fraction())


def bridge_claims(group: Group, now: int, lifetime: int) -> Claims:
    """Say what the token of a bridge says, for a broker in another process. `lifetime` in ms."""
    return Claims(_BRIDGE, group, "bridge", now, now + lifetime)


def service_claims(process: str, now: int, lifetime: int) -> Claims:
    """Say what the token of a service process says. `lifetime` in ms."""
    return Claims(_SERVICE, process, "service", now, now + lifetime)


def _binding(claims: Claims) -> tuple[str, str]:
    """Tell username and client id of a token, or refuse ids of the wrong form."""
    if claims.role == "bridge" and claims.user == _BRIDGE and claims.device in ids.GROUPS:
        return f"bridge-{claims.device}", f"bridge-{claims.device}"
    if claims.role == "service" and claims.user == _SERVICE and _PROCESS.fullmatch(claims.device):
        return f"api-{claims.device}", f"api-{claims.device}"
    internal = claims.role in ROLES and ROLES[claims.role].internal
    known = claims.role in ROLES or (not claims.role and claims.allow)
    if internal or not known:
        raise Refusal(Code.UNAUTHENTICATED, "the token has no role here")
    try:
        return ids.user_id(claims.user), ids.client_id(UserId(claims.user), ids.device_id(claims.device))
    except Refusal:
        raise Refusal(Code.UNAUTHENTICATED, "the token names no user or device of ours") from None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
