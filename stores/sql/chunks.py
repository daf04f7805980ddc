"""Long lists of values, in parts that a statement can take."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

MOST: Final = 500
"""Parameters of a statement; SQLite may have been built to take 999 at most."""


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut the values into lists of at most `MOST`."""
    rest = iter(values)
    while part := list(islice(rest, MOST)):
        yield part
