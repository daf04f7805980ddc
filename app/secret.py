"""A random secret in a file of the data folder, made at the first start, readable by its owner alone."""

import os
from pathlib import Path
from typing import Final

from app.clock import entropy
from app.folder import FolderUnusable

LENGTH: Final = 32


def load_or_make_secret(path: Path) -> bytes:
    """Read the secret (32 bytes), or make it, mode 0600. Raises `FolderUnusable`."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    except OSError as error:
        raise FolderUnusable(f"{path} cannot be read: {error.strerror}") from None
    if len(secret) != LENGTH:
        raise FolderUnusable(f"{path} is no secret of {LENGTH} bytes; restore it, or delete it to make a new one")
    return secret


def _make(path: Path) -> bytes:
    """Write it beside and move it into place, so that a crash leaves no half of it."""
    secret = entropy(LENGTH)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    number = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(number, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return secret
