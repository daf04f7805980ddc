"""A random secret in a file of the data folder, made at the first start, readable by its owner alone."""

from pathlib import Path
from typing import Final

from acl.private import write_private
from app.clock import entropy
from app.folder import FolderUnusable

LENGTH: Final = 32


def load_or_make_secret(path: Path) -> bytes:
    """Read the secret (32 bytes), or make it, mode 0600. Raises `FolderUnusable`."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = entropy(LENGTH)
        write_private(path, secret)
        return secret
    except OSError as error:
        raise FolderUnusable(f"{path} cannot be read: {error.strerror}") from None
    if len(secret) != LENGTH:
        raise FolderUnusable(f"{path} is no secret of {LENGTH} bytes; restore it, or delete it to make a new one")
    return secret
