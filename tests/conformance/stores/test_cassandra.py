"""The message log's and the journal's suites over the CQL write path on a real node of Cassandra."""

import pytest

from tests.cassandra import log
from tests.conformance.stores.test_cql_path import CASES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("bucket", "slot"), [(3, 2), (1_000, 100)], ids=["small partitions", "as shipped"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_conformance(cassandra, case, bucket, slot):
    async with log(cassandra, bucket=bucket, slot=slot) as store:
        await case(store)
