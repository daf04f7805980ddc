"""The message log's and the journal's suites over the CQL write path, on simulated cells without faults."""

import asyncio
import random

import pytest

from stores.cql.path import CqlLog
from tests.conformance.stores import journal, message_log
from tests.simulation.cells import SimCells
from tests.simulation.loop import SimLoop, run


@pytest.mark.parametrize("bucket", [3, 1_000])
@pytest.mark.parametrize("case", [*message_log.SUITE.cases, *journal.SUITE.cases], ids=lambda case: case.__name__)
def test_conformance(case, bucket):
    async def history(_: SimLoop) -> None:
        await asyncio.wait_for(case(CqlLog(SimCells(random.Random(0)), bucket)), 10_000)

    run(0, history)
