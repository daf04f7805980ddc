"""Memory and Cassandra side by side: the agreement machine, with what an engine over the network does differently."""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.cassandra import log
from tests.conformance.stores.entries import DAY, NOW, key
from tests.conformance.stores.test_agreement import IDS, USERS, Agreement

pytestmark = pytest.mark.slow


class CassandraAgreement(Agreement):
    """A restart is a new connection; a crash, one where the old is just left. Time passes, but nothing is forgotten:
    a store of cells prunes by other rules."""

    def __init__(self, node):
        self.node = node
        self.left = []
        self.opened = None
        super().__init__()

    def start(self):
        self.opened = log(self.node, bucket=4, slot=3, empty=self.opened is None)
        self.log = self.run(self.opened.__aenter__())

    @rule(days=st.integers(1, 5))
    def age(self, days):
        self.now += days * DAY

    @rule()
    def restart(self):
        self.run(self.opened.__aexit__(None, None, None))
        self.start()

    @rule()
    def crash(self):
        self.left.append(self.opened)
        self.start()

    def agree_on_heads(self, who, after, limit):
        """As everywhere; but a list leaves out where a member sees nothing yet: there, that is a commit half done."""
        expected = [head for head in self.run(self.model.heads(who, after, 99)) if head.first <= head.head]
        assert self.run(self.log.heads(who, after, limit)) == expected[:limit]

    def agree_on(self, of):
        """As everywhere; but of ids that are told incompletely, which ones is the engine's choice."""
        head = self.heads.get(of, 0)
        self.both(lambda log: log.rows(of, 2, head + 1))
        self.both(lambda log: log.load(of, ids_since=NOW))
        self.both(lambda log: log.header(of))
        for seq in (1, head):
            self.both(lambda log, seq=seq: log.moves(of, seq))
        for id_ in IDS:
            self.both(lambda log, id_=id_: log.find_id(key(id_, who=USERS[0], of=of)))

    def teardown(self):
        for opened in (*self.left, self.opened):
            self.run(opened.__aexit__(None, None, None))
        self.runner.close()


def test_memory_and_cassandra_agree(cassandra):
    run_state_machine_as_test(
        lambda: CassandraAgreement(cassandra),
        settings=settings(
            max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
