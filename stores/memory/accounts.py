"""The models of the accounts' ports, over one set of dictionaries.

Rules: each method is one step. `policy_version` rises with every change that a broker or bridge must notice.
"""

from dataclasses import dataclass, field

import msgspec

from stores.ports.accounts import Device, RefreshToken, Revocation, User, Verification
from stores.ports.directory import Person
from tidings.protocol.ids import DeviceId, UserId


@dataclass
class _Tables:
    users: dict[UserId, User] = field(default_factory=dict)
    devices: dict[tuple[UserId, DeviceId], Device] = field(default_factory=dict)
    blocks: dict[UserId, dict[UserId, int]] = field(default_factory=dict)
    verifications: dict[str, Verification] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    tokens: dict[bytes, RefreshToken] = field(default_factory=dict)
    version: int = 1


class MemoryAccounts:
    """The ports over the same accounts, an attribute each."""

    def __init__(self) -> None:
        tables = _Tables()
        self.users = MemoryUsers(tables)
        self.blocks = MemoryBlocks(tables)
        self.verifications = MemoryVerifications(tables)
        self.refresh_tokens = MemoryRefreshTokens(tables)
        self.policy = MemoryPolicy(tables)
        self.directory = MemoryDirectory(tables)


class MemoryUsers:
    """`Users`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def by_id(self, user: UserId) -> User | None:
        """Find a user by id."""
        return self._tables.users.get(user)

    async def by_phone(self, phone: str) -> User | None:
        """Find a user by phone number."""
        return next((user for user in self._tables.users.values() if phone and user.phone == phone), None)

    async def add(self, user: User) -> User:
        """Add, or return the user that has this phone number, or this id, already."""
        standing = await self.by_phone(user.phone) or self._tables.users.get(user.id)
        return standing or self._tables.users.setdefault(user.id, user)

    async def add_device(self, device: Device) -> None:
        """Add, or replace."""
        if self._tables.devices.get((device.user, device.id), device) != device:
            self._tables.version += 1
        self._tables.devices[device.user, device.id] = device

    async def devices(self, user: UserId) -> list[Device]:
        """List a user's devices by the time they were added, revoked ones too."""
        own = [device for device in self._tables.devices.values() if device.user == user]
        return sorted(own, key=lambda device: (device.created_at, device.id))

    async def revoke_device(self, user: UserId, device: DeviceId, now: int) -> bool:
        """Revoke; tells whether it was in use."""
        standing = self._tables.devices.get((user, device))
        if standing is None or standing.revoked_at:
            return False
        self._tables.devices[user, device] = msgspec.structs.replace(standing, revoked_at=now)
        self._tables.version += 1
        return True

    async def set_banned(self, user: UserId, banned: bool) -> bool:
        """Ban or pardon; tells whether that changed anything."""
        standing = self._tables.users.get(user)
        if standing is None or standing.banned is banned:
            return False
        self._tables.users[user] = msgspec.structs.replace(standing, banned=banned)
        self._tables.version += 1
        return True


class MemoryBlocks:
    """`Blocks`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def block(self, user: UserId, blocked: UserId, now: int) -> None:
        """Block; again changes nothing."""
        own = self._tables.blocks.setdefault(user, {})
        if blocked not in own:
            own[blocked] = now
            self._tables.version += 1

    async def unblock(self, user: UserId, blocked: UserId) -> None:
        """Unblock; again changes nothing."""
        if self._tables.blocks.get(user, {}).pop(blocked, None) is not None:
            self._tables.version += 1

    async def blocked(self, user: UserId) -> list[UserId]:
        """List whom the user blocks, by id."""
        return sorted(self._tables.blocks.get(user, {}))


class MemoryVerifications:
    """`Verifications`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def put(self, verification: Verification) -> None:
        """Add."""
        self._tables.verifications[verification.id] = verification

    async def get(self, verification: str) -> Verification | None:
        """Find a usable one."""
        return None if verification in self._tables.used else self._tables.verifications.get(verification)

    async def try_code(self, verification: str) -> int:
        """Count one try down; tells how many were left before."""
        standing = await self.get(verification)
        if standing is None or standing.tries_left <= 0:
            return 0
        counted = msgspec.structs.replace(standing, tries_left=standing.tries_left - 1)
        self._tables.verifications[verification] = counted
        return standing.tries_left

    async def drop(self, verification: str) -> bool:
        """Make it unusable; tells whether it was usable."""
        usable = await self.get(verification) is not None
        self._tables.used.add(verification)
        return usable

    async def count_since(self, *, phone: str = "", address: str = "", since: int) -> int:
        """Count those made at or after `since` for this phone number, address, or both."""
        return sum(
            made.created_at >= since and phone in ("", made.phone) and address in ("", made.address)
            for made in self._tables.verifications.values()
        )


class MemoryRefreshTokens:
    """`RefreshTokens`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def put(self, token: RefreshToken) -> None:
        """Add."""
        self._tables.tokens[token.hash] = token

    async def use(self, hash_: bytes, now: int) -> RefreshToken | None:
        """Mark used and return it as it was before; None if unknown."""
        standing = self._tables.tokens.get(hash_)
        if standing is not None and not standing.used_at:
            self._tables.tokens[hash_] = msgspec.structs.replace(standing, used_at=now)
        return standing

    async def end_family(self, family: str) -> None:
        """Forget all tokens of a family."""
        kept = {hash_: token for hash_, token in self._tables.tokens.items() if token.family != family}
        self._tables.tokens = kept


class MemoryPolicy:
    """`Policy`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def version(self) -> int:
        """Tell the policy's version."""
        return self._tables.version

    async def revocations(self) -> list[Revocation]:
        """List devices revoked or with void tokens, then banned users (device "")."""
        cut = [device for device in self._tables.devices.values() if device.revoked_at or device.tokens_from]
        banned = [user for user in self._tables.users.values() if user.banned]
        return [
            *(Revocation(d.user, d.id, d.tokens_from, gone=bool(d.revoked_at)) for d in cut),
            *(Revocation(user.id, DeviceId(""), 0, gone=True) for user in banned),
        ]


class MemoryDirectory:
    """`Directory`."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """Tell of those users that exist."""
        return {
            user.id: Person(
                user.id,
                blocks=frozenset(self._tables.blocks.get(user.id, {})),
                hides_read=user.hides_read,
                banned=user.banned,
            )
            for user in self._tables.users.values()
            if user.id in users
        }
