"""Credentials of named accounts, kept in a folder: `tidings … --as alice` reads `alice`'s.

Rules
- The folder is `$TIDINGS_HOME`, or `~/.tidings` (mode 0700); a profile is `NAME.json` in it (mode 0600), replaced in
  one step. Beside it, made when needed: `NAME.db` (outbox and positions) and `NAME.lock`.
- One process at a time holds a device's MQTT session (`held`): a second connection would cut the first.
- Whatever is wrong is a `ProfileError` whose text is one line.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tidings.protocol import ids, payloads
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import ConvId, DeviceId, UserId

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class ProfileError(Exception):
    """There is no such account here, or it cannot be read or kept."""


class Profile(payloads.Wire, frozen=True):
    """One logged-in device: `server` the API's base URL, `ports` by transport (`mqtt`, `websocket`, `tls`), `since` and
    `expires_at` (of the token) ms. Entries before `since` are history to this device."""

    server: str
    host: str
    ports: dict[str, int]
    user: UserId
    device: DeviceId
    token: str
    refresh_token: str = ""
    path: str = "/mqtt"
    name: str = ""
    phone: str = ""
    since: int = 0
    expires_at: int = 0

    @property
    def client_id(self) -> str:
        """The MQTT client id."""
        return ids.client_id(self.user, self.device)


def from_login(server: str, answer: dict[str, Any], now: int) -> Profile:
    """Make a profile of what `verify-otp` or `refresh` answered. Raises `ProfileError` when it is no login answer."""
    try:
        mqtt, user = answer["mqtt"], answer["user"]
        owner, _, device = mqtt["clientId"].partition(":")
        return Profile(
            server=server,
            host=mqtt["host"],
            ports={name: int(port) for name, port in mqtt["ports"].items() if port},
            user=ids.user_id(owner),
            device=ids.device_id(device),
            token=answer["token"],
            refresh_token=answer["refreshToken"],
            path=mqtt.get("path", "/mqtt"),
            name=user.get("name", ""),
            phone=user.get("phoneNumber", ""),
            since=now,
            expires_at=now + 1_000 * int(answer.get("expiresIn", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, Refusal):
        raise ProfileError(f"{server} did not answer as a Tidings server does") from None


def home() -> Path:
    """Tell the folder of profiles."""
    chosen = os.environ.get("TIDINGS_HOME")
    return Path(chosen) if chosen else Path.home() / ".tidings"


def names(folder: Path | None = None) -> list[str]:
    """List the accounts that are known here."""
    try:
        return sorted(file.stem for file in (folder or home()).glob("*.json"))
    except OSError:
        return []


def path_of(name: str, folder: Path | None = None, suffix: str = ".json") -> Path:
    """Tell where an account's file is. Raises `ProfileError` when the name is none."""
    if _NAME.fullmatch(name) is None:
        raise ProfileError(f"{name!r} is no account name; use lower-case letters, digits and - _ .")
    return (folder or home()) / f"{name}{suffix}"


def load(name: str, folder: Path | None = None) -> Profile:
    """Read an account. Raises `ProfileError`."""
    path = path_of(name, folder)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except FileNotFoundError:
        known = ", ".join(names(folder)) or "none"
        raise ProfileError(
            f"no account {name!r} in {path.parent} (known: {known}); set TIDINGS_HOME or log in"
        ) from None
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ProfileError(f"{path} is no profile: {error}") from None


def save(name: str, profile: Profile, folder: Path | None = None) -> Path:
    """Keep an account; returns its file. Raises `ProfileError`."""
    path = path_of(name, folder)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ProfileError(f"{path} cannot be written: {error.strerror}") from None
    return path


def begin_now(name: str, now: int, folder: Path | None = None) -> None:
    """Let this device count what was said until now as history, not as news. Raises `ProfileError`."""
    save(name, replace(load(name, folder), since=now), folder)


@contextmanager
def held(name: str, folder: Path | None = None) -> Iterator[bool]:
    """Hold a device's session for this process; gives False when another process has it."""
    descriptor = os.open(path_of(name, folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def recipient(me: Profile, text: str, folder: Path | None = None) -> tuple[ConvId, UserId]:
    """Read what a person typed: a conversation's id, a user's, or an account's name known here. Returns the
    conversation, and the user when it is a direct one. Raises `ProfileError`."""
    try:
        return ids.conv_id(text), UserId("")
    except Refusal:
        pass
    try:
        user = ids.user_id(text)
    except Refusal:
        if text not in names(folder):
            known = ", ".join(names(folder))
            raise ProfileError(f"{text!r} is no user id, conversation id or known account ({known})") from None
        user = load(text, folder).user
    return ids.direct_conversation(me.user, user), user
