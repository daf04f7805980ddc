"""The message log's and the journal's suites over the CQL write path, on simulated cells without faults."""

import asyncio
import random

import pytest

from stores.cql.path import CqlLog
from tests.conformance.stores import journal, message_log
from tests.simulation.cells import SimCells
from tests.simulation.loop import SimLoop, run

BEYOND = {
    "another_entry_at_the_same_place_is_fenced": "it is; but two contents of one epoch and number are one cell",
    "two_owners_at_once_commit_one": "one is; but owners never share an epoch, and what they write would be one cell",
    "heads_never_fall": "heads do not; but the other cells of a header are judged one by one",
    "a_contradiction_harms_nobody_else": "cells are overwritten without a look at what stands there",
}
"""What only an owner that renumbers could do, which no owner does (`tests/simulation/builds.py` has one): the model and
SQL notice it, cells cannot."""
CASES = [case for case in (*message_log.SUITE.cases, *journal.SUITE.cases) if case.__name__ not in BEYOND]


@pytest.mark.parametrize("bucket", [3, 1_000])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_conformance(case, bucket):
    async def history(_: SimLoop) -> None:
        await asyncio.wait_for(case(CqlLog(SimCells(random.Random(0)), bucket)), 10_000)

    run(0, history)
