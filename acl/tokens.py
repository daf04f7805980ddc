"""Tokens: issued and verified here, and nowhere else (the only import of `jwt`).

Rules
- A token is a JWS of at most `limits.TOKEN_BYTES`, signed ES256 or EdDSA by a key of ours. Its header is `alg`, `kid`
  and `typ` and nothing else; `kid` names the key and *the key decides the algorithm* (RFC 8725, 3.1): `none`, HMAC with
  a public key and foreign keys all fail at the same check.
- `exp`, `iat`, `sub`, `device` are required. A `role` names a template of `roles.py`, which keeps a token under 400
  bytes; an `acl` claim in EMQX's form grants or denies beyond it.
- Any bytes verify or raise `Refusal(unauthenticated | tokenExpired)`, nothing else (fuzzed).
- What was verified is kept by the token's digest in a bounded cache; expiry is checked every time.
- Claims' times are seconds (RFC 7519, NumericDate; `iat` with its milliseconds), everything else here is ms.
"""

import hashlib
from collections import OrderedDict
from typing import Annotated, Any, Final

import msgspec
from jwt import PyJWS, PyJWTError
from msgspec import Meta, Struct

from acl import filters
from acl.jwks import VerifyingKeySet
from acl.keys import KeySet
from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal

_CACHED: Final = 10_000
_CLOCK_SKEW: Final = 60_000
"""ms by which another process' clock may run ahead of ours in `iat`."""
_RULES: Final = 64
"""Entries of an `acl` claim at most."""
_HEADER: Final = {"alg", "kid", "typ"}
_ACTIONS: Final = {"publish": "publish", "pub": "publish", "subscribe": "subscribe", "sub": "subscribe", "all": "all"}

Grant = tuple[str, str]
"""An action (`publish`, `subscribe`, `all`) and a topic filter."""


class Claims(Struct, frozen=True):
    """What a verified token says. Times in ms UTC; `device` is the bridge's group or the service's process for
    theirs."""

    user: str
    device: str
    role: str
    issued_at: int
    expires_at: int
    allow: tuple[Grant, ...] = ()
    deny: tuple[Grant, ...] = ()


class _Payload(Struct, frozen=True):
    sub: Annotated[str, Meta(min_length=1, max_length=128)]
    device: Annotated[str, Meta(min_length=1, max_length=64)]
    exp: Annotated[float, Meta(gt=0, lt=10_000_000_000)]
    iat: Annotated[float, Meta(gt=0, lt=10_000_000_000)]
    role: Annotated[str, Meta(max_length=32)] = ""
    acl: Any = None


_payload: Final = msgspec.json.Decoder(_Payload)
_jws: Final = PyJWS(algorithms=["ES256", "EdDSA"])


def issue(keys: KeySet, claims: Claims) -> str:
    """Sign a token with the newest key. An `acl` claim is written only when there are grants beyond the role's."""
    body: dict[str, Any] = {
        "sub": claims.user,
        "device": claims.device,
        "role": claims.role,
        "iat": claims.issued_at / 1000 if claims.issued_at % 1000 else claims.issued_at // 1000,
        "exp": claims.expires_at // 1000,
    }
    rules = [
        {"permission": permission, "action": action, "topic": pattern}
        for permission, grants in (("deny", claims.deny), ("allow", claims.allow))
        for action, pattern in grants
    ]
    if rules:
        body["acl"] = rules
    key = keys.signing
    return _jws.encode(msgspec.json.encode(body), key.private, key.algorithm, headers={"kid": key.kid})


class Verifier:
    """Verifies tokens against a key set that may be exchanged while it runs."""

    def __init__(self, keys: KeySet | VerifyingKeySet, *, cached: int = _CACHED) -> None:
        self._keys = {key.kid: key for key in keys.keys}
        self._most = cached
        self._known: OrderedDict[bytes, tuple[Claims, int]] = OrderedDict()

    def use(self, keys: KeySet | VerifyingKeySet) -> None:
        """Take another key set from now on; what the old one verified is verified again."""
        self._keys = {key.kid: key for key in keys.keys}
        self._known.clear()

    def verify(self, token: str | bytes, now: int) -> Claims:
        """Tell what a token says. Raises `Refusal(unauthenticated | tokenExpired)`."""
        raw = token.encode("utf-8", "surrogatepass") if isinstance(token, str) else token
        if len(raw) > limits.TOKEN_BYTES:
            raise _refusal(f"a token has at most {limits.TOKEN_BYTES} bytes")
        digest = hashlib.sha256(raw).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = self._verified(raw)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        claims, until = found
        if until and now >= until:
            raise _refusal("the token's key is out of use; log in again")
        if claims.issued_at > now + _CLOCK_SKEW:
            raise _refusal("the token is from the future; check the clocks")
        if now >= claims.expires_at:
            raise Refusal(Code.TOKEN_EXPIRED)
        return claims

    def _verified(self, raw: bytes) -> tuple[Claims, int]:
        try:
            header = _jws.get_unverified_header(raw)
            key = self._keys.get(header.get("kid", ""))
            if key is None or not header.keys() <= _HEADER:
                raise _refusal("the token was not signed here; log in again")
            payload = _payload.decode(_jws.decode(raw, key.public, algorithms=[key.algorithm]))
        except (PyJWTError, msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            raise _refusal("the token is not valid; log in again") from None
        return _claims(payload), key.until


def _claims(payload: _Payload) -> Claims:
    issued, expires = round(payload.iat * 1000), round(payload.exp * 1000)
    if expires <= issued:
        raise _refusal("the token expires before it begins")
    device = f"{payload.sub}:{payload.device}"
    allow, deny = _grants(payload.acl, {"${username}": payload.sub, "${clientid}": device})
    return Claims(payload.sub, payload.device, payload.role, issued, expires, allow, deny)


def _grants(claim: Any, names: dict[str, str]) -> tuple[tuple[Grant, ...], tuple[Grant, ...]]:
    """Read an `acl` claim: EMQX's list of rules, or its older map `{pub, sub, all}` of allowed topics.

    What it means, where we know less than EMQX, is decided for safety: an allow with a condition (`qos`, `retain`)
    grants nothing, a deny with one denies always; a rule that cannot be read voids the token.
    """
    rules = _listed(claim)
    if len(rules) > _RULES:
        raise _refusal(f"a token's acl claim has at most {_RULES} rules")
    sides: dict[str, list[Grant]] = {"allow": [], "deny": []}
    for rule in rules:
        permission, grant, conditional = _rule(rule, names)
        if not (permission == "allow" and conditional):
            sides[permission].append(grant)
    return tuple(sides["allow"]), tuple(sides["deny"])


def _listed(claim: Any) -> list[Any]:
    match claim:
        case None:
            return []
        case list():
            return claim
        case dict() if all(isinstance(topics, list) for topics in claim.values()):
            return [{"permission": "allow", "action": act, "topic": one} for act, many in claim.items() for one in many]
        case _:
            raise _refusal("the token's acl claim cannot be read")


def _rule(rule: Any, names: dict[str, str]) -> tuple[str, Grant, bool]:
    try:
        permission, action, topic = rule["permission"], _ACTIONS[rule["action"]], rule["topic"]
        pattern = topic.removeprefix("eq ")
        for name, value in names.items():
            pattern = pattern.replace(name, value)
        known = permission in ("allow", "deny") and filters.is_filter(pattern)
    except (KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise _refusal("the token's acl claim cannot be read")
    return permission, (action, pattern), "qos" in rule or "retain" in rule


def _refusal(text: str) -> Refusal:
    return Refusal(Code.UNAUTHENTICATED, text)
