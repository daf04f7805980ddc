"""Driver errors at one edge: what a failed database operation means to the caller.

Rules
- Before COMMIT was sent, nothing can have happened: `StoreUnavailable`. Once it was sent, only a refusal for being busy
  is as sure; anything else (full disk, I/O error, lost connection) is `OutcomeUnknown`.
- Errors come wrapped by SQLAlchemy, or as the driver's own (`statements`): both are known.
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
    driven = error.orig if isinstance(error, DBAPIError) else error
    match error:
        case IntegrityError() | sqlite3.IntegrityError():
            return Contradiction(str(driven))
        case DBAPIError() | sqlite3.Error() if committing and not _is_busy(driven):
            return OutcomeUnknown(f"commit: {driven}")
        case DBAPIError() | sqlite3.Error():
            return StoreUnavailable(str(driven))
        case SQLAlchemyError() | OSError():
            return OutcomeUnknown(str(error)) if committing else StoreUnavailable(str(error))
        case _:
            return error


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & _PRIMARY in _BUSY
