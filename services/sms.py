"""Text messages: the port, and the development inbox that takes them instead of a telephone network.

Rules
- The inbox is a file of JSON lines, mode 0600: a code in it lets its reader log in.
- It is bounded: above `_MOST_BYTES` the older half is dropped.
"""

import os
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from acl.private import write_private

_MOST_BYTES: Final = 256 * 1024


class SmsSender(Protocol):
    """Whatever sends a text message to a telephone."""

    async def send(self, phone: str, text: str, now: int) -> None:
        """Hand one message over. Raises `Refusal(unavailable)` when the provider does not take it."""
        ...


class Sms(Struct, frozen=True):
    """A text message in the inbox. `at` ms UTC, `phone` E.164."""

    at: int
    phone: str
    text: str


class DevelopmentInbox:
    """Keeps messages in a file, for `tidings sms` and tests; nothing leaves the machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, phone: str, text: str, now: int) -> None:
        """Append; it is there for every reader when this returns."""
        line = msgspec.json.encode(Sms(now, phone, text)) + b"\n"
        if self._path.exists() and self._path.stat().st_size + len(line) > _MOST_BYTES:
            self._halve()
        number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(number, line)
        finally:
            os.close(number)

    def _halve(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        write_private(self._path, b"".join(lines[len(lines) // 2 :]), durable=False)


def read_inbox(path: Path, phone: str = "") -> list[Sms]:
    """Read the inbox, oldest first, of one phone number or all. A line that is only half written is left out."""
    if not path.exists():
        return []
    found: list[Sms] = []
    for line in path.read_bytes().splitlines():
        try:
            sms = msgspec.json.decode(line, type=Sms)
        except msgspec.MsgspecError:
            continue
        if phone in ("", sms.phone):
            found.append(sms)
    return found
