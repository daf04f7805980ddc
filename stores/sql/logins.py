"""Pending verifications and refresh tokens on SQL. Engine of `Chain.APP`.

Rules: each method is one transaction, so that of two who come at once one wins. What is past its use is deleted a
while later, a bounded number with each new one.
"""

from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from stores.ports.accounts import RefreshToken, Verification
from stores.sql.engine import SqlEngine
from stores.sql.schema import refresh_tokens, verifications

_COUNTED_MS: Final = 86_400_000
"""How long a verification is kept to be counted; limits look back an hour."""
_SWEPT: Final = 20


class SqlVerifications:
    """`Verifications` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def put(self, verification: Verification) -> None:
        """Add, and forget some that are older than a day."""
        await self._engine.write(partial(_put_verification, made=verification))

    async def get(self, verification: str) -> Verification | None:
        """Find a usable one."""
        return await self._engine.read(partial(_usable, verification=verification))

    async def try_code(self, verification: str) -> int:
        """Count one try down; tells how many were left before."""
        return await self._engine.write(partial(_try_code, verification=verification))

    async def drop(self, verification: str) -> bool:
        """Make it unusable; tells whether it was usable."""
        one = (verifications.c.id == verification) & ~verifications.c.used
        change = update(verifications).where(one).values(used=True)
        return await self._engine.write(lambda connection: connection.execute(change).rowcount > 0)

    async def count_since(self, *, phone: str = "", address: str = "", since: int) -> int:
        """Count those made at or after `since` for this phone number, address, or both."""
        query = select(func.count()).select_from(verifications).where(verifications.c.created_at >= since)
        if phone:
            query = query.where(verifications.c.phone == phone)
        if address:
            query = query.where(verifications.c.address == address)
        return await self._engine.read(lambda connection: connection.execute(query).scalar_one())


class SqlRefreshTokens:
    """`RefreshTokens` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def put(self, token: RefreshToken) -> None:
        """Add."""
        await self._engine.write(partial(_put_token, token=token))

    async def use(self, hash_: bytes, now: int) -> RefreshToken | None:
        """Mark used and return it as it was before; None if unknown. Forgets some that expired over a day ago."""
        return await self._engine.write(partial(_use, hash_=hash_, now=now))

    async def end_family(self, family: str) -> None:
        """Forget all tokens of a family."""
        change = delete(refresh_tokens).where(refresh_tokens.c.family == family)
        await self._engine.write(lambda connection: connection.execute(change))


def _put_verification(connection: Connection, *, made: Verification) -> None:
    _sweep(connection, verifications, "id", verifications.c.created_at < made.created_at - _COUNTED_MS)
    connection.execute(
        insert(verifications).values(
            id=made.id,
            phone=made.phone,
            address=made.address,
            name=made.name,
            code_hash=made.code_hash,
            created_at=made.created_at,
            expires_at=made.expires_at,
            tries_left=made.tries_left,
            used=False,
        )
    )


def _usable(connection: Connection, *, verification: str) -> Verification | None:
    c = verifications.c
    found = connection.execute(
        select(c.id, c.phone, c.name, c.code_hash, c.created_at, c.expires_at, c.tries_left, c.address).where(
            c.id == verification, ~c.used
        )
    ).first()
    return None if found is None else Verification(*found)


def _try_code(connection: Connection, *, verification: str) -> int:
    standing = _usable(connection, verification=verification)
    if standing is None or standing.tries_left <= 0:
        return 0
    left = standing.tries_left - 1
    connection.execute(update(verifications).where(verifications.c.id == verification).values(tries_left=left))
    return standing.tries_left


def _put_token(connection: Connection, *, token: RefreshToken) -> None:
    connection.execute(
        insert(refresh_tokens).values(
            hash=token.hash,
            family=token.family,
            owner=token.user,
            device=token.device,
            expires_at=token.expires_at,
            used_at=token.used_at,
        )
    )


def _use(connection: Connection, *, hash_: bytes, now: int) -> RefreshToken | None:
    _sweep(connection, refresh_tokens, "hash", refresh_tokens.c.expires_at < now - _COUNTED_MS)
    one = refresh_tokens.c.hash == hash_
    found = connection.execute(select(refresh_tokens).where(one)).first()
    if found is None:
        return None
    token = RefreshToken(*found)
    if not token.used_at:
        connection.execute(update(refresh_tokens).where(one).values(used_at=now))
    return token


def _sweep(connection: Connection, table: Table, key: str, past: Any) -> None:
    some = select(table.c[key]).where(past).limit(_SWEPT)
    connection.execute(delete(table).where(table.c[key].in_(some)))
