"""Accounts: users, devices, pending verifications, refresh tokens, grants and revocations.

Rules
- Secrets (codes, refresh tokens) are stored as hashes made by the caller; this port never sees them in clear.
- All times are ms UTC and given by the caller. Each method is one transaction. Raises `StoreUnavailable`; `Refusal`
  where told.
- `policy_version` rises with every change that a broker or bridge must notice (revocation, ban, block, grants).
"""

from typing import Protocol

from msgspec import Struct

from tidings.protocol.ids import DeviceId, UserId


class User(Struct, frozen=True):
    """A person or thing with an account. `phone` in E.164, empty for things."""

    id: UserId
    phone: str
    name: str
    created_at: int
    banned: bool = False
    hides_read: bool = False


class Device(Struct, frozen=True):
    """One device of a user. `revoked_at` 0 while in use. Tokens issued before `tokens_from` (ms) are void."""

    user: UserId
    id: DeviceId
    name: str
    role: str
    created_at: int
    revoked_at: int = 0
    tokens_from: int = 0


class Verification(Struct, frozen=True):
    """A pending proof of a phone number. `code_hash` is a keyed hash; `tries_left` counts down."""

    id: str
    phone: str
    name: str
    code_hash: bytes
    created_at: int
    expires_at: int
    tries_left: int
    address: str = ""


class RefreshToken(Struct, frozen=True):
    """One of a family of refresh tokens; using a used one ends the family. `hash` is SHA-256 of the token."""

    hash: bytes
    family: str
    user: UserId
    device: DeviceId
    expires_at: int
    used_at: int = 0


class Users(Protocol):
    """Users and their devices."""

    async def by_id(self, user: UserId) -> User | None: ...
    async def by_phone(self, phone: str) -> User | None: ...
    async def add(self, user: User) -> User:
        """Add, or return the user that has this phone number already."""
        ...

    async def add_device(self, device: Device) -> None: ...
    async def devices(self, user: UserId) -> list[Device]: ...
    async def revoke_device(self, user: UserId, device: DeviceId, now: int) -> bool: ...
    async def set_banned(self, user: UserId, banned: bool) -> bool: ...


class Blocks(Protocol):
    """Who blocks whom."""

    async def block(self, user: UserId, blocked: UserId, now: int) -> None: ...
    async def unblock(self, user: UserId, blocked: UserId) -> None: ...
    async def blocked(self, user: UserId) -> list[UserId]: ...


class Verifications(Protocol):
    """Pending verifications and their counts, for rate limits."""

    async def put(self, verification: Verification) -> None: ...
    async def get(self, verification: str) -> Verification | None: ...
    async def try_code(self, verification: str) -> int:
        """Count one try down atomically; tells how many were left before it (0: refused)."""
        ...

    async def drop(self, verification: str) -> bool:
        """Make it unusable (`get` tells None, `try_code` 0), though `count_since` still counts it; tells whether it was
        usable, so that of two who bring the right code at once only one succeeds."""
        ...

    async def count_since(self, *, phone: str = "", address: str = "", since: int) -> int: ...


class RefreshTokens(Protocol):
    """Rotating refresh tokens."""

    async def put(self, token: RefreshToken) -> None: ...
    async def use(self, hash_: bytes, now: int) -> RefreshToken | None:
        """Mark used and return it as it was before (so `used_at` > 0 means reuse); None if unknown."""
        ...

    async def end_family(self, family: str) -> None: ...


class Revocation(Struct, frozen=True):
    """What a broker must know to refuse a token: device revoked, user banned, or tokens before a time void."""

    user: UserId
    device: DeviceId
    tokens_from: int
    gone: bool


class Policy(Protocol):
    """What brokers and bridges re-read every few seconds."""

    async def version(self) -> int: ...
    async def revocations(self) -> list[Revocation]:
        """All revocations that could still matter (tokens younger than their lifetime)."""
        ...
