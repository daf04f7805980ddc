"""Driver errors at one edge: what a failed database operation means to the caller.

Rules
- Before COMMIT was sent, nothing can have happened: `StoreUnavailable`. Once it was sent, only a refusal for being busy
  is as sure; anything else (full disk, I/O error, lost connection) is `OutcomeUnknown`.
- A violated constraint is no fault of the store but of the caller: `Contradiction`.
"""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

_BUSY: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_PRIMARY: Final = 0xFF  # an extended result code's low byte is its primary code


class Contradiction(ValueError):
    """What was to be written contradicts what stands there: a bug of the writer. Nothing of it was done."""


def translate(error: Exception, *, committing: bool) -> Exception:
    """Tell which of our kinds an error is; one that is no driver's error stays as it is."""
    match error:
        case IntegrityError():
            return Contradiction(str(error.orig))
        case DBAPIError() if committing and not _is_busy(error):
            return OutcomeUnknown(f"commit: {error.orig}")
        case DBAPIError():
            return StoreUnavailable(str(error.orig))
        case SQLAlchemyError() | OSError():
            return OutcomeUnknown(str(error)) if committing else StoreUnavailable(str(error))
        case _:
            return error


def _is_busy(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(code, int) and code & _PRIMARY in _BUSY
