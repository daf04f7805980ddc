"""Memory and SQLite side by side: after every step they give the same answers, also after restarts and crashes.

A crash is the image of the files that a killed process leaves: database and write-ahead log, copied while open.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stores.memory.log import MemoryLog
from stores.ports.log import Outcome
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tests.conformance.stores.entries import (
    DAY,
    NOW,
    PHONE,
    TABLET,
    conv,
    entry,
    header,
    key,
    member,
    move,
    row,
    user,
)
from tidings.protocol.ids import Group

GROUPS = (Group("a"), Group("b"))
USERS = tuple(user(number) for number in range(3))
CONVS = {group: tuple(conv(number, f"{group}1") for number in range(2)) for group in GROUPS}
IDS = ("x", "y", "z")


class Owner:
    """A lane group's owner as the machine plays it: it numbers as a correct owner does."""

    def __init__(self, group, opened):
        self.group = group
        self.epoch = opened.epoch
        self.n = opened.next_n
        self.published = 0


class Agreement(RuleBasedStateMachine):
    """Drives both logs with the same calls."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.image = 0
        self.model = MemoryLog()
        self.now = NOW
        self.owners = {}
        self.deposed = []
        self.entries = []
        self.heads = {}
        self.marks = {}
        self.receipts = {}
        self.windows = {}
        self.start()

    def run(self, coroutine):
        """Run on the machine's loop."""
        return self.runner.run(coroutine)

    def start(self):
        """Open the current file."""
        self.engine = SqlEngine(self.folder / f"{self.image}.db", Chain.LOG, readers=1)
        self.run(self.engine.start())
        self.log = SqlLog(self.engine)

    def both(self, call):
        """Call both; they must agree."""
        expected, found = self.run(call(self.model)), self.run(call(self.log))
        assert found == expected
        return found

    @rule(group=st.sampled_from(GROUPS))
    def open(self, group):
        """A new owner takes over."""
        opened = self.both(lambda log: log.open(group, "owner", self.now))
        if group in self.owners:
            self.deposed.append(self.owners[group])
        self.owners[group] = Owner(group, opened)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def commit(self, data):
        """An owner commits rows, members and moves."""
        owner = self.owners[data.draw(st.sampled_from(sorted(self.owners)))]
        given = self.make(owner, data)
        assert self.both(lambda log: log.commit(given)) is Outcome.COMMITTED
        self.entries.append(given)
        owner.n += 1
        owner.published = data.draw(st.integers(owner.published, given.n))

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def repeat(self, data):
        """An entry that was committed, and is not pruned, is sent again."""
        given = data.draw(st.sampled_from(self.entries))
        assert self.both(lambda log: log.commit(given)) is Outcome.COMMITTED

    @precondition(lambda self: self.deposed)
    @rule(data=st.data())
    def late(self, data):
        """A deposed owner's write lands late: it is fenced."""
        owner = data.draw(st.sampled_from(self.deposed))
        given = entry(owner.n, row(1_000, id_="late"), epoch=owner.epoch, group=owner.group)
        assert self.both(lambda log: log.commit(given)) is Outcome.FENCED

    @rule(days=st.integers(1, 5))
    def age(self, days):
        """Time passes, and both forget."""
        self.now += days * DAY
        self.both(lambda log: log.prune(self.now))
        standing = {(group, found.n) for group in GROUPS for found in self.run(self.model.read(group, 0, 1_000))}
        self.entries = [given for given in self.entries if (given.group, given.n) in standing]
        self.deposed = [owner for owner in self.deposed if (owner.group, owner.n) in standing]

    @rule()
    def restart(self):
        """The process ends well and starts again."""
        self.run(self.engine.close())
        self.start()

    @rule()
    def crash(self):
        """The process is killed."""
        old, self.image = self.image, self.image + 1
        for suffix in (".db", ".db-wal"):
            shutil.copy(self.folder / f"{old}{suffix}", self.folder / f"{self.image}{suffix}")
        self.run(self.engine.close())
        self.start()

    @invariant()
    def agree(self):
        """Everything that can be read is the same."""
        for group in GROUPS:
            self.both(lambda log, group=group: log.read(group, 0, 1_000))
            for of in CONVS[group]:
                self.agree_on(of)
        for who in USERS:
            self.agree_on_heads(who, "", 2)
            self.agree_on_heads(who, CONVS[GROUPS[0]][0], 9)

    def agree_on_heads(self, who, after, limit):
        """A user's list is the same."""
        self.both(lambda log: log.heads(who, after, limit))

    def agree_on(self, of):
        """Everything of one conversation is the same."""
        head = self.heads.get(of, 0)
        self.both(lambda log: log.rows(of, 2, head + 1))
        self.both(lambda log: log.load(of, ids_since=self.now - 7 * DAY, ids_most=3))
        self.both(lambda log: log.header(of))
        for seq in (1, head // 2, head):
            self.both(lambda log, seq=seq: log.moves(of, seq))
        for id_ in IDS:
            self.both(lambda log, id_=id_: log.find_id(key(id_, who=USERS[0], of=of)))

    def make(self, owner, data):
        """Make the owner's next entry, and remember what it changes."""
        rows, members, marks, headers = [], [], [], []
        for of in data.draw(st.sets(st.sampled_from(CONVS[owner.group]))):
            rows += [self.row(of, data) for _ in range(data.draw(st.integers(0, 3)))]
            members += [self.member(of, who, data) for who in data.draw(st.sets(st.sampled_from(USERS)))]
            for who in data.draw(st.sets(st.sampled_from(USERS))):
                marks += self.move(of, who, data)
            headers.append(header(self.heads.get(of, 0), self.receipts.get(of, 0), of=of))
        return entry(
            owner.n,
            *rows,
            epoch=owner.epoch,
            group=owner.group,
            at=self.now,
            members=tuple(members),
            marks=tuple(marks),
            conversations=tuple(headers),
            published=owner.published,
        )

    def row(self, of, data):
        """Make the next row; its id may have been used before."""
        seq = self.heads[of] = self.heads.get(of, 0) + 1
        return row(
            seq,
            of=of,
            id_=data.draw(st.sampled_from(IDS)),
            sender=data.draw(st.sampled_from(USERS)),
            device=data.draw(st.sampled_from((PHONE, TABLET, ""))),
            at=self.now,
            payload=data.draw(st.binary(max_size=20)),
            hidden_for=tuple(sorted(data.draw(st.sets(st.sampled_from(USERS), max_size=2)))),
        )

    def member(self, of, who, data):
        """Make a member that joins or leaves at the head."""
        windows = list(self.windows.get((of, who), ()))
        head = max(self.heads.get(of, 0), 1)
        if windows and not windows[-1][1]:
            windows[-1] = (windows[-1][0], max(head, windows[-1][0]))
        else:
            windows.append((windows[-1][1] + 1 if windows else head, 0))
        self.windows[of, who] = tuple(windows)
        return member(who, *windows, of=of, role=data.draw(st.sampled_from(("member", "admin"))))

    def move(self, of, who, data):
        """Make a mark's move upwards, if there is room."""
        kind = data.draw(st.sampled_from(("read", "delivered")))
        from_ = self.marks.get((of, who, kind), 0)
        if from_ >= self.heads.get(of, 0):
            return []
        to = self.marks[of, who, kind] = data.draw(st.integers(from_ + 1, self.heads[of]))
        version = self.receipts[of] = self.receipts.get(of, 0) + 1
        return [move(who, from_, to, version, kind=kind, of=of, shown=data.draw(st.booleans()))]

    def teardown(self):
        """Close, and clean up."""
        self.run(self.engine.close())
        self.runner.close()
        shutil.rmtree(self.folder)


Agreement.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAgreement = Agreement.TestCase
