"""Keeping a profile's token fresh, also when several processes use the same profile.

Rules: a refresh token works once, so renewing is done under a lock, and whoever comes second takes the first one's
result.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tidings import profile as profiles
from tidings.api import Api
from tidings.profile import Profile

EARLY_MS: Final = 60_000
_PAUSE_SECONDS: Final = 0.05


async def renewed(name: str, known: Profile, now: int, folder: Path | None = None) -> Profile:
    """Trade the refresh token of `known` for a new pair, keep it, and return the profile. Raises `Refusal`,
    `ProfileError`."""
    async with _locked(profiles.path_of(name, folder, ".renew")):
        current = profiles.load(name, folder)
        if current.token != known.token:
            return current
        async with Api(current.server) as api:
            answer = profiles.from_login(current.server, await api.refresh(current.refresh_token), now)
        fresh = replace(answer, since=current.since)
        profiles.save(name, fresh, folder)
        return fresh


async def fresh(name: str, now: int, folder: Path | None = None) -> Profile:
    """Read a profile, renewed if its token is about to expire. Raises `Refusal`, `ProfileError`."""
    known = profiles.load(name, folder)
    if known.expires_at and known.refresh_token and known.expires_at < now + EARLY_MS:
        return await renewed(name, known, now, folder)
    return known


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)
