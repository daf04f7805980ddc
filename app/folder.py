"""The data folder: made private, held by one server at a time.

Rules: the lock is the kernel's (`flock`), so that a killed server leaves none behind.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderUnusable(Exception):
    """The data folder cannot be used; the text is one line."""


@contextmanager
def held_folder(path: Path) -> Iterator[Path]:
    """Make the folder if need be (mode 0700) and hold it. Raises `FolderUnusable`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderUnusable(f"the data folder {path} cannot be used: {error.strerror}; set TIDINGS_DATA") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise FolderUnusable(f"another server uses the data folder {path}; stop it, or set TIDINGS_DATA") from None
    try:
        yield path
    finally:
        os.close(lock)
