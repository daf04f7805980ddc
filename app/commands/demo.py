"""`tidings demo`: the transcript alone."""

import sys


def command() -> None:
    """Start everything on free ports and a temporary folder, print the transcript, and stop.

    Example: tidings demo

    Exit codes: 0 every step happened, 1 one did not, 2 it could not be started.
    """
    from app.up import run_demo

    sys.exit(run_demo())
