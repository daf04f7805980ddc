"""What keeps a server from starting, each told in one line.

Rules: what an operator can mend is an `Obstacle`, and never a traceback; what is left is a bug, and is told as one.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from acl.keys import BadKeys
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable


class Obstacle(Exception):
    """The server cannot start; the text is one line that says what to do."""


@contextlib.contextmanager
def told(data: Path) -> Iterator[None]:
    """Turn what goes wrong while a server starts on the folder `data` into an `Obstacle`."""
    try:
        yield
    except BadKeys as error:
        raise Obstacle(str(error)) from error
    except (StoreUnavailable, OutcomeUnknown) as error:
        raise Obstacle(f"a store in {data} cannot be used: {error}; mend or restore it, or set TIDINGS_DATA") from error
    except TimeoutError as error:
        raise Obstacle("the bridge did not start in time; TIDINGS_LOG_LEVEL=info tells what it waits for") from error
    except OSError as error:
        raise Obstacle(_of_system(error)) from error


def _of_system(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"cannot start: {error.filename}: {why}" if error.filename else f"cannot start: {why}"
