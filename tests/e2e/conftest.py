"""One server for the tests that do not stop it."""

from collections.abc import Iterator

import pytest

from tests.processes import TidingsUp


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TidingsUp]:
    """A running `tidings up`, shared by the tests of a file; each registers people of its own."""
    running = TidingsUp(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    running.stop()
