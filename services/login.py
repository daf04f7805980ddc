"""Registration and tokens: the steps behind `/api/auth`, without HTTP.

Rules
- `register` never looks at accounts, so it cannot tell whether one exists; `verify` makes the account or finds it.
- Every verification makes a new device: an id of ours, so that no two sessions share a client id.
- Refresh tokens rotate. One that is used a second time was stolen or lost, and ends its whole family.
"""

import asyncio
import base64
import hashlib
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from msgspec import Struct

from acl import tokens
from acl.tokens import Claims
from services import codes
from services.deps import Deps
from services.metrics import Metrics
from stores.ports.accounts import Device, RefreshToken, User, Verification
from tidings.protocol import ids, payloads
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, UserId

_FROM_NOWHERE: Final = "unknown"
_ROLE: Final = "person"
_PRECISION_MS: Final = 14_000


class Session(Struct, frozen=True):
    """What a login gives: an access token, the refresh token that follows it, and for whom."""

    token: str
    refresh_token: str
    user: User
    device: DeviceId


class Login:
    """The steps of logging in, for one API process."""

    def __init__(self, deps: Deps, metrics: Metrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._registering = asyncio.Lock()

    async def register(self, phone: str, name: str, host: str) -> str:
        """Send a code to a phone number; tells the verification's id. Raises `Refusal(badValue | rateLimited |
        unavailable)`."""
        phone, name = codes.phone_number(phone), payloads.clean_name(name)
        now = self._deps.clock()
        verification = _word(self._deps.entropy(16))
        code = codes.make_code(self._deps.entropy(16))
        pending = Verification(
            id=verification,
            phone=phone,
            name=name,
            code_hash=codes.hash_code(self._deps.code_secret, verification, code),
            created_at=now,
            expires_at=now + codes.LIFETIME_MS,
            tries_left=codes.TRIES,
            address=codes.address_key(host) if host else _FROM_NOWHERE,
        )
        async with self._registering:  # counting and keeping are two steps: a burst must not pass between them
            await self._check_rates(pending, exempt=self._deps.development and codes.is_loopback(host))
            await self._deps.verifications.put(pending)
        await self._deps.sms.send(phone, f"{code} is your Tidings code. It is valid for 5 minutes.", now)
        return verification

    async def verify(self, verification: str, code: str, device_name: str) -> Session:
        """Prove a phone number: the account, made or found, and a new device. Raises `Refusal(wrongCode | codeExpired |
        notAllowed | badValue)`."""
        name = payloads.clean_text(device_name, most=255, what="a device's name")
        pending = await self._proven(verification, code)
        now = self._deps.clock()
        user = await self._deps.users.add(
            User(ids.make_user_id(self._deps.entropy(11)), pending.phone, pending.name, now)
        )
        if user.banned:
            raise Refusal(Code.NOT_ALLOWED, "this account is banned")
        device = ids.make_device_id(self._deps.entropy(6))
        await self._deps.users.add_device(Device(user.id, device, name, _ROLE, now))
        return await self._session(user, device, _ROLE, _word(self._deps.entropy(16)))

    async def refresh(self, refresh_token: str) -> Session:
        """Exchange a refresh token for a new one and an access token. Raises `Refusal(unauthenticated |
        notAllowed)`."""
        now, digest = self._deps.clock(), _digest(refresh_token)
        known = await self._deps.refresh_tokens.use(digest, now)
        if known is None or known.expires_at <= now:
            raise Refusal(Code.UNAUTHENTICATED, "the refresh token is not valid; register again")
        if known.used_at:
            self._metrics.refresh_reuse.inc()
            raise await self._ended(known.family)
        user = await self._deps.users.by_id(known.user)
        device = next((d for d in await self._deps.users.devices(known.user) if d.id == known.device), None)
        if user is None or device is None or device.revoked_at:
            raise Refusal(Code.UNAUTHENTICATED, "this device was logged out; register again")
        if user.banned:
            raise Refusal(Code.NOT_ALLOWED, "this account is banned")
        session = await self._session(user, device.id, device.role, known.family)
        if await self._deps.refresh_tokens.use(digest, now) is None:
            # A second use ended the family between our use and our new token, which must end with it.
            raise await self._ended(known.family)
        return session

    async def logout(self, user: UserId, device: DeviceId) -> bool:
        """End a device: its tokens are void, brokers disconnect it. Tells whether there was one to end."""
        return await self._deps.users.revoke_device(user, device, self._deps.clock())

    async def _ended(self, family: str) -> Refusal:
        await self._deps.refresh_tokens.end_family(family)
        return Refusal(Code.UNAUTHENTICATED, "the refresh token was used before, so its login ended; register again")

    async def _check_rates(self, pending: Verification, *, exempt: bool) -> None:
        """Refuse a registration above a limit, and tell when there is room again."""
        count = self._deps.verifications.count_since
        by_phone = partial(count, phone=pending.phone)
        by_address = partial(count, address=pending.address)
        if wait := await _until_room(by_phone, codes.AN_HOUR_PER_PHONE, pending.created_at):
            raise Refusal(Code.RATE_LIMITED, "too many codes for this number within an hour", retry_after=wait)
        if not exempt and (wait := await _until_room(by_address, codes.AN_HOUR_PER_ADDRESS, pending.created_at)):
            raise Refusal(Code.RATE_LIMITED, "too many registrations from here within an hour", retry_after=wait)

    async def _proven(self, verification: str, code: str) -> Verification:
        pending = await self._deps.verifications.get(verification)
        if pending is None or pending.expires_at <= self._deps.clock():
            raise Refusal(Code.CODE_EXPIRED)
        if await self._deps.verifications.try_code(verification) <= 0:
            raise Refusal(Code.CODE_EXPIRED)
        if not codes.is_code(self._deps.code_secret, verification, code, pending.code_hash):
            raise Refusal(Code.WRONG_CODE)
        if not await self._deps.verifications.drop(verification):
            raise Refusal(Code.CODE_EXPIRED)
        return pending

    async def _session(self, user: User, device: DeviceId, role: str, family: str) -> Session:
        now = self._deps.clock()
        refresh_token = _word(self._deps.entropy(32))
        await self._deps.refresh_tokens.put(
            RefreshToken(_digest(refresh_token), family, user.id, device, now + self._deps.refresh_ms)
        )
        claims = Claims(user.id, device, role, now, now + self._deps.token_ms)
        return Session(tokens.issue(self._deps.keys(), claims), refresh_token, user, device)


async def _until_room(count: Callable[..., Awaitable[int]], most: int, now: int) -> int:
    """Tell in how many seconds fewer than `most` fall into the hour before, 0 when that is so now. The store only
    counts, so the time of the one that must pass is found by halving; the answer is never too early and at most 15 s
    late."""
    early, late = now - codes.HOUR_MS + 1, now + 1  # one made exactly an hour ago is past
    if await count(since=early) < most:
        return 0
    while late - early > _PRECISION_MS:
        middle = (early + late) // 2
        if await count(since=middle) < most:
            late = middle
        else:
            early = middle
    return math.ceil((late - 1 + codes.HOUR_MS - now) / 1000)


def _word(entropy: bytes) -> str:
    return base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
