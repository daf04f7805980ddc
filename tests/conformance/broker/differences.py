"""Where the embedded broker answers otherwise than Mosquitto 2.0.11, and why: the table that the comparison asserts.

Rules
- Both are given the same packets (`scripts.py`). A place is a script, a step's number and a connection.
- A difference that is not listed is a fault, and so is a listed one that is no more.
"""

from typing import NamedTuple


class Difference(NamedTuple):
    """What each answers in one place."""

    script: str
    step: int
    who: str
    embedded: str
    mosquitto: str


DIFFERENCES: dict[str, list[Difference]] = {}
"""The differences, by the reason that they share."""
