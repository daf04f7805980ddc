"""Every port's suite over every engine."""

import pytest

from tests.conformance.stores import accounts, dead_letters, journal, message_log
from tests.conformance.stores.engines import ACCOUNTS, DEAD_LETTERS, LAST_SEEN, LOGS
from tests.conformance.stores.suite import pairs


@pytest.mark.parametrize(
    ("case", "factory"),
    pairs(
        [
            (message_log.SUITE, LOGS),
            (journal.SUITE, LOGS),
            (journal.PRUNING, LOGS),
            (dead_letters.SUITE, DEAD_LETTERS),
            (dead_letters.SEEN, LAST_SEEN),
            (accounts.SUITE, ACCOUNTS),
            (accounts.DIRECTORY, ACCOUNTS),
        ]
    ),
)
async def test_conformance(case, factory):
    async with factory() as store:
        await case(store)
