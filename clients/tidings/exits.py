"""How commands end: exit statuses and the one line on stderr."""

import sys
from typing import Final, NoReturn

REFUSED: Final = 1
USAGE: Final = 2
NO_ANSWER: Final = 3
BUG: Final = 70
INTERRUPTED: Final = 130


class NoAnswer(Exception):
    """Nothing came back in time; the text says what happens now."""


def fail(text: str, status: int) -> NoReturn:
    """End the command with one line on stderr."""
    print(f"tidings: {' '.join(text.split())}", file=sys.stderr)
    raise SystemExit(status)
