"""What the tests of the services on real stores begin with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.services.stored import Stored


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Stored]:
    """An API on stores of its own."""
    stored = Stored(tmp_path)
    await stored.start()
    yield stored
    await stored.close()
