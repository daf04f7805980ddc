"""Alice and Bob: the two accounts that show a new installation at work, made through its public doors.

Rules
- Nobody here knows anything that a stranger's program would not: HTTP, MQTT, and the code out of the development inbox.
- A device's profile is kept, so that the next start refreshes its token and registers nobody again.
"""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from services.sms import read_inbox
from tidings import profile as profiles
from tidings.aio import now_ms
from tidings.api import Api
from tidings.profile import Profile, ProfileError
from tidings.protocol.errors import Refusal

INBOX: Final = "sms.jsonl"
PROFILES: Final = "profiles"
_CODE: Final = re.compile(r"\b\d{6}\b")


class Part(Struct, frozen=True):
    """One account of the cast. Numbers are from a range kept for drama, which no telephone has."""

    name: str
    phone: str


ALICE: Final = Part("Alice", "+447700900001")
BOB: Final = Part("Bob", "+447700900002")
CAROL: Final = Part("Carol", "+447700900003")


def read_code(data: Path, phone: str) -> str:
    """Read the newest code sent to a phone number. Raises `LookupError` when there is none."""
    for sms in reversed(read_inbox(data / INBOX, phone)):
        if (found := _CODE.search(sms.text)) is not None:
            return found[0]
    raise LookupError(f"no code for {phone} in the development inbox")


async def log_in(server: str, data: Path, part: Part, account: str) -> Profile:
    """Give the device that is kept as `account` a fresh token: by its refresh token, else by registering. Raises
    `Refusal`, `LookupError` or `ProfileError`."""
    folder = data / PROFILES
    kept = _kept(account, folder)
    async with Api(server) as api:
        answer = None
        if kept is not None:
            try:
                answer = await api.refresh(kept.refresh_token)
            except Refusal as refusal:
                if refusal.kind.status >= 500:
                    raise
        if answer is None:
            verification = await api.register(part.phone, part.name)
            answer = await api.verify(verification, read_code(data, part.phone), account)
            kept = None
    login = profiles.from_login(server, answer, kept.since if kept else now_ms())
    profiles.save(account, login, folder)
    return login


def _kept(account: str, folder: Path) -> Profile | None:
    try:
        return profiles.load(account, folder)
    except ProfileError:
        return None
