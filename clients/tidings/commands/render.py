"""How entries are shown to a person: one line each, nothing that could move the terminal's cursor."""

import time
import unicodedata

from tidings import profile as profiles
from tidings.profile import ProfileError
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import Message, is_event


def known_names() -> dict[UserId, str]:
    """Name the users whose accounts are known here."""
    found = {}
    for name in profiles.names():
        try:
            found[profiles.load(name).user] = name
        except ProfileError:
            continue
    return found


def line(entry: Message, names: dict[UserId, str]) -> str:
    """Show an entry as one line: local time, number, who, what."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at / 1_000)) if entry.at else "-"
    who = names.get(entry.from_, entry.from_)
    if entry.kind == "tombstone":
        return f"{clock} #{entry.seq} (nothing to see here)"
    if is_event(entry.kind):
        told = ", ".join(f"{name} {_told(value, names)}" for name, value in entry.data.items())
        return f"{clock} #{entry.seq} * {who}: {printable(entry.kind)} {printable(told)}"
    files = f" [{len(entry.attachments)} files]" if entry.attachments else ""
    return f"{clock} #{entry.seq} {who}: {printable(entry.body)}{files}"


def printable(text: str) -> str:
    """Replace line breaks and whatever a terminal could take for a command."""
    return "".join(" " if char in "\r\n\t" else "�" if unicodedata.category(char)[0] == "C" else char for char in text)


def _told(value: object, names: dict[UserId, str]) -> str:
    if isinstance(value, list):
        return " ".join(names.get(UserId(str(each)), str(each)) for each in value)
    return names.get(UserId(str(value)), str(value))
