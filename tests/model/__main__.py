"""`python -m tests.model` prints the verdict on the write path, and the shortest history for each rule taken away."""

from tests.model.path import Path, start, steps
from tests.model.promises import broken
from tests.model.search import search

_PATHS = {
    "the path": Path(),
    "with batches over two partitions": Path(split=True),
    "epochs without a journal": Path(journal=False),
    "a new owner that finishes nothing": Path(finish=False),
    "the head sent beside the index": Path(head_last=False),
    "acknowledged before the commit": Path(ack_last=False),
    "an owner that renumbers": Path(owners=1, batch=1, renumber=True),
}

for name, tried in _PATHS.items():
    print(f"{name}: {search(start(tried), lambda state, path=tried: steps(path, state), broken, 200_000)}")  # type: ignore[misc]
