"""Where a running server listens, told in its data folder for the commands that talk to it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from acl.private import write_private

_FILE: Final = "running.json"


class Running(Struct, frozen=True):
    """A running server: its process, and the broker's and the API's ports on `host`."""

    pid: int
    host: str
    mqtt: int
    http: int


@contextlib.contextmanager
def told(data: Path, running: Running) -> Iterator[None]:
    """Tell while entered. A killed server leaves its file behind; `find` is then refused by the closed port."""
    path = data / _FILE
    write_private(path, msgspec.json.encode(running) + b"\n", durable=False)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def find(data: Path) -> Running | None:
    """Tell the server that runs on this folder, or None."""
    try:
        return msgspec.json.decode((data / _FILE).read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None
