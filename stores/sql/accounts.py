"""Users, devices, blocks and the policy's version on SQL. Engine of `Chain.APP`.

Rules: each method is one transaction; whatever a broker or bridge must notice raises the policy's version in it.
"""

from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, insert, or_, select, update

from stores.ports.accounts import Device, Revocation, User
from stores.sql.engine import SqlEngine
from stores.sql.schema import blocks, devices, policy, users
from tidings.protocol.ids import DeviceId, UserId

_NOBODY: Final = DeviceId("")


class SqlUsers:
    """`Users` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def by_id(self, user: UserId) -> User | None:
        """Find a user by id."""
        return await self._engine.read(partial(_find, query=select(users).where(users.c.id == user)))

    async def by_phone(self, phone: str) -> User | None:
        """Find a user by phone number; an empty one finds nobody."""
        if not phone:
            return None
        return await self._engine.read(partial(_find, query=select(users).where(users.c.phone == phone)))

    async def add(self, user: User) -> User:
        """Add, or return the user that has this phone number, or this id, already."""
        return await self._engine.write(partial(_add, user=user))

    async def add_device(self, device: Device) -> None:
        """Add, or replace."""
        await self._engine.write(partial(_add_device, device=device))

    async def devices(self, user: UserId) -> list[Device]:
        """List a user's devices by the time they were added, revoked ones too."""
        query = select(devices).where(devices.c.owner == user).order_by(devices.c.created_at, devices.c.id)
        return await self._engine.read(lambda connection: [_device(tuple(r)) for r in connection.execute(query)])

    async def revoke_device(self, user: UserId, device: DeviceId, now: int) -> bool:
        """Revoke; tells whether it was in use."""
        one = (devices.c.owner == user) & (devices.c.id == device) & (devices.c.revoked_at == 0)
        return await self._engine.write(partial(_change, change=update(devices).where(one).values(revoked_at=now)))

    async def set_banned(self, user: UserId, banned: bool) -> bool:
        """Ban or pardon; tells whether that changed anything."""
        one = (users.c.id == user) & (users.c.banned != banned)
        return await self._engine.write(partial(_change, change=update(users).where(one).values(banned=banned)))


class SqlBlocks:
    """`Blocks` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def block(self, user: UserId, blocked: UserId, now: int) -> None:
        """Block; again changes nothing."""
        await self._engine.write(partial(_block, user=user, blocked=blocked, now=now))

    async def unblock(self, user: UserId, blocked: UserId) -> None:
        """Unblock; again changes nothing."""
        one = (blocks.c.owner == user) & (blocks.c.blocked == blocked)
        await self._engine.write(partial(_change, change=delete(blocks).where(one)))

    async def blocked(self, user: UserId) -> list[UserId]:
        """List whom the user blocks, by id."""
        query = select(blocks.c.blocked).where(blocks.c.owner == user).order_by(blocks.c.blocked)
        return await self._engine.read(lambda connection: [UserId(found) for found in connection.scalars(query)])


class SqlPolicy:
    """`Policy` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def version(self) -> int:
        """Tell the policy's version."""
        return await self._engine.read(lambda connection: connection.scalars(select(policy.c.version)).one())

    async def revocations(self) -> list[Revocation]:
        """List devices revoked or with void tokens, then banned users (device "")."""
        return await self._engine.read(_revocations)


def _find(connection: Connection, *, query: Select[Any]) -> User | None:
    found = connection.execute(query).first()
    return None if found is None else User(*found)


def _add(connection: Connection, *, user: User) -> User:
    same = (users.c.phone == user.phone) & (users.c.phone != "")
    standing = _find(connection, query=select(users).where(or_(same, users.c.id == user.id)).order_by(~same))
    if standing is not None:
        return standing
    values = {name: getattr(user, name) for name in ("id", "phone", "name", "created_at", "banned", "hides_read")}
    connection.execute(insert(users).values(values))
    return user


def _add_device(connection: Connection, *, device: Device) -> None:
    one = (devices.c.owner == device.user) & (devices.c.id == device.id)
    found = connection.execute(select(devices).where(one)).first()
    if found is not None and _device(tuple(found)) == device:
        return
    if found is not None:
        connection.execute(delete(devices).where(one))
        _raise_version(connection)
    connection.execute(
        insert(devices).values(
            owner=device.user,
            id=device.id,
            name=device.name,
            role=device.role,
            created_at=device.created_at,
            revoked_at=device.revoked_at,
            tokens_from=device.tokens_from,
        )
    )


def _block(connection: Connection, *, user: UserId, blocked: UserId, now: int) -> None:
    one = (blocks.c.owner == user) & (blocks.c.blocked == blocked)
    if connection.execute(select(blocks.c.at).where(one)).first() is None:
        connection.execute(insert(blocks).values(owner=user, blocked=blocked, at=now))
        _raise_version(connection)


def _change(connection: Connection, *, change: Any) -> bool:
    changed = connection.execute(change).rowcount > 0
    if changed:
        _raise_version(connection)
    return changed


def _raise_version(connection: Connection) -> None:
    connection.execute(update(policy).values(version=policy.c.version + 1))


def _revocations(connection: Connection) -> list[Revocation]:
    cut = select(devices).where(or_(devices.c.revoked_at > 0, devices.c.tokens_from > 0))
    found = [_device(tuple(values)) for values in connection.execute(cut)]
    banned = connection.scalars(select(users.c.id).where(users.c.banned))
    return [
        *(Revocation(d.user, d.id, d.tokens_from, gone=bool(d.revoked_at)) for d in found),
        *(Revocation(UserId(user), _NOBODY, 0, gone=True) for user in banned),
    ]


def _device(values: tuple[Any, ...]) -> Device:
    return Device(*values)
