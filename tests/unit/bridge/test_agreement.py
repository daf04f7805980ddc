"""A conversation against a naive model of one: numbers, windows, repeats, watermarks."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.decision import Decision, Repeat, Verdict
from stores import visible
from tests.unit.bridge.deciding import REQUEST, Talk, group
from tests.unit.bridge.house import ALICE, BOB, CAROL, DAN
from tidings.protocol.commands import AddMembers, ChangeGroup, CreateGroup, RemoveMember, SetRole
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import UserId

USERS = (ALICE, BOB, CAROL, DAN)
who = st.sampled_from(USERS)


class Model(RuleBasedStateMachine):
    """What a person would keep on paper: the log as a list, who was in at each entry, what was said under which id."""

    @initialize(history=st.booleans())
    def begin(self, history: bool) -> None:
        self.talk: Talk = group(BOB, history=history)
        self.history = history
        self.present: list[set[UserId]] = [{ALICE, BOB}]
        """Who was a member right after each entry."""
        self.said: dict[tuple[UserId, str], tuple[str, int]] = {}
        self.marks: dict[tuple[UserId, str], int] = {}
        self.blocks: set[tuple[UserId, UserId]] = set()
        self.hidden: dict[int, set[UserId]] = {}

    def try_to_say(self, sender: UserId, body: str, id_: str) -> tuple[Verdict | None, str]:
        try:
            return self.talk.say(sender, body, id_=id_), ""
        except Refusal as refusal:
            return None, refusal.code

    def put(self, act: Verdict) -> Decision:
        assert isinstance(act, Decision)
        return act

    @rule(sender=who, id_=st.sampled_from("abc"), body=st.sampled_from("xy"))
    def say(self, sender: UserId, id_: str, body: str) -> None:
        known = self.said.get((sender, id_))
        verdict, refused = self.try_to_say(sender, body, id_)
        if verdict is None:
            assert refused == "idReused" if known and known[0] != body else sender not in self.present[-1]
            return
        if known:
            assert known == (body, verdict.seq if isinstance(verdict, Repeat) else -1)
            return
        decision = self.put(verdict)
        assert sender in self.present[-1]
        self.present.append(self.present[-1])
        self.said[sender, id_] = body, decision.seq
        self.hidden[decision.seq] = {u for u in self.present[-1] if (u, sender) in self.blocks}
        assert decision.seq == len(self.present)

    @rule(by=who, added=who)
    def add(self, by: UserId, added: UserId) -> None:
        try:
            decision = self.put(self.talk.alter(AddMembers((added,)), by=by))
        except Refusal:
            admin = by in self.present[-1] and self.talk.state.members[by].role == "admin"
            assert not admin or (added, by) in self.blocks
            return
        if decision.rows:
            self.present.append(self.present[-1] | {added})

    @rule(by=who, removed=who)
    def remove(self, by: UserId, removed: UserId) -> None:
        try:
            decision = self.put(self.talk.alter(RemoveMember(removed), by=by))
        except Refusal:
            return
        for _ in decision.rows:
            self.present.append(self.present[-1] - {removed})

    @rule(by=who, user=who, role=st.sampled_from(["admin", "member"]))
    def set_role(self, by: UserId, user: UserId, role: str) -> None:
        try:
            decision = self.put(self.talk.alter(SetRole(user, role), by=by))
        except Refusal:
            return
        self.present += [self.present[-1]] * len(decision.rows)

    @rule(by=who, name=st.sampled_from(["one", "two"]))
    def rename(self, by: UserId, name: str) -> None:
        try:
            decision = self.put(self.talk.alter(ChangeGroup(name=name), by=by))
        except Refusal:
            return
        self.present += [self.present[-1]] * len(decision.rows)
        assert self.talk.state.name == name

    @rule()
    def create_again(self) -> None:
        verdict = self.talk.alter(CreateGroup("walkers", (BOB,), history=self.history), id_=REQUEST)
        assert verdict == Repeat(1)

    @rule(one=who, other=who)
    def block(self, one: UserId, other: UserId) -> None:
        if one != other:
            self.talk.block(one, other)
            self.blocks.add((one, other))

    @rule(reader=who, kind=st.sampled_from(["delivered", "read"]), low=st.integers(0, 12), size=st.integers(1, 12))
    def acknowledge(self, reader: UserId, kind: str, low: int, size: int) -> None:
        try:
            decision = self.put(self.talk.acknowledge(reader, kind, low, low + size))
        except Refusal:
            return
        for move in decision.marks:
            assert move.from_ >= self.marks.get((reader, move.kind), 0), "a watermark never goes back"
            self.marks[reader, move.kind] = move.to
            shown = [seq for seq in range(move.from_ + 1, move.to + 1) if move.shown]
            assert all(reader not in self.hidden.get(seq, ()) for seq in shown)
            assert all(self.talk.state.members[reader].sees(n) for n in range(move.from_ + 1, move.to + 1))

    @invariant()
    def the_log_has_no_gaps_and_no_doubles(self) -> None:
        rows = list(self.talk.state.tail)
        assert [row.seq for row in rows] == list(range(1, len(self.present) + 1))
        keys = [(row.sender, row.device, row.id) for row in rows]
        assert len(set(keys)) == len(keys)

    @invariant()
    def members_are_who_the_paper_says(self) -> None:
        assert set(self.talk.state.active) == self.present[-1]
        admins = [u for u in self.talk.state.active if self.talk.state.members[u].role == "admin"]
        assert admins or not self.talk.state.active

    @invariant()
    def who_was_out_sees_nothing_of_it(self) -> None:
        for user, member in self.talk.state.members.items():
            edges = [edge for window in member.windows for edge in (window.first, window.last or 10**9)]
            assert edges == sorted(edges), "windows rise and do not overlap"
            for row in self.talk.state.tail:
                now_in = user in self.present[row.seq - 1]
                just_left = row.seq > 1 and user in self.present[row.seq - 2] and not now_in
                if now_in:
                    assert member.sees(row.seq)
                elif not just_left and not self.history:
                    assert not member.sees(row.seq)
                if user in self.hidden.get(row.seq, ()):
                    assert not visible.is_visible(row, member)

    @invariant()
    def receipts_count_moves(self) -> None:
        assert {key: to for key, to in self.marks.items() if to} == self.talk.state.marks


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgreement = Model.TestCase
