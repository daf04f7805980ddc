"""Whatever is lost, doubled, reordered or cut: in the end the session's log is the server's, each message once."""

import random
from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.session.server import ALICE, LAPTOP, PEERS, PHONE, WITH_BOB, WITH_CAROL, Server, text
from tidings.protocol.ids import ConvId
from tidings.session import Deliver, Effect, MemoryOutbox, Moved, Publish, Session, State, Status

SETTLED = [State.SENT, State.DELIVERED, State.READ]
conversations = st.sampled_from([WITH_BOB, WITH_CAROL])


class SessionAgainstServer(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.server = Server()
        self.outbox = MemoryOutbox()
        self.seen: dict[ConvId, list[int]] = defaultdict(list)
        self.states: dict[tuple[ConvId, str], list[State]] = defaultdict(list)
        self.marks: dict[tuple[ConvId, str, str], int] = defaultdict(int)
        self.told: dict[tuple[ConvId, str, str], int] = defaultdict(int)
        self.wire: list[Publish] = []
        self.up = False
        self.boots = 0
        self.numbers = 0

    @initialize(
        seed=st.integers(0, 2**32), page=st.integers(1, 5), forgetful=st.booleans(), said=st.lists(conversations)
    )
    def start(self, seed: int, page: int, forgetful: bool, said: list[ConvId]) -> None:
        self.random = random.Random(seed)
        self.server.page = page
        self.forgetful = forgetful
        self._boot(None)
        self.connect()
        for conv in said:
            self.somebody_speaks(conv, own=False)
        self.all_goes_well_for_a_while(2)

    def _boot(self, old: Session | None) -> None:
        self.boots += 1
        self.told.clear()  # a new run may tell again what the last one told
        self.session = Session(
            ALICE,
            PHONE,
            boot=f"boot{self.boots}",
            jitter=self.random.random,
            outbox=self.outbox,
            positions=old.positions() if old else None,
            backlog=1_000,
        )

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish():
                    assert self.up, "published without a connection"
                    self.wire.append(effect)
                case Deliver(entry):
                    self.seen[entry.conv].append(entry.seq)
                case Status():
                    self.states[effect.conv, effect.id].append(effect.state)
                case Moved(conv, user, kind, to):
                    assert to > self.told[conv, user, kind], "a watermark fell, or was told twice"
                    self.told[conv, user, kind] = to
                    self.marks[conv, user, kind] = max(to, self.marks[conv, user, kind])
                case _:
                    pass

    @rule(conv=conversations)
    def send(self, conv: ConvId) -> None:
        self.numbers += 1
        self._do(self.session.send(conv, text(self.numbers, conv), self.now))

    @rule(conv=conversations, own=st.booleans())
    def somebody_speaks(self, conv: ConvId, own: bool) -> None:
        self.numbers += 1
        who, device = (ALICE, LAPTOP) if own else (PEERS[conv], LAPTOP)
        self.server.say(conv, who, device, text(self.numbers, conv))

    @precondition(lambda self: any(self.server.logs.values()))
    @rule(conv=conversations, kind=st.sampled_from(["delivered", "read"]))
    def peer_reads(self, conv: ConvId, kind: str) -> None:
        self.server.move(conv, PEERS[conv], kind, len(self.server.logs[conv]))

    @precondition(lambda self: any(self.seen.values()))
    @rule(conv=conversations)
    def read(self, conv: ConvId) -> None:
        if self.seen[conv]:
            self._do(self.session.mark_read(conv, self.seen[conv][-1], self.now))

    @precondition(lambda self: not self.up)
    @rule()
    def connect(self) -> None:
        self.up = True
        self._do(self.session.connected(self.now))

    @precondition(lambda self: self.up)
    @rule(lost=st.integers(0, 3))
    def cut(self, lost: int) -> None:
        del self.wire[len(self.wire) - min(lost, len(self.wire)) :]
        self.up = False
        self._do(self.session.disconnected(self.now))

    @rule()
    def restart(self) -> None:
        self.wire.clear()
        self.up = False
        self._boot(self.session)

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 5))
    def server_takes(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            self.server.take(self.wire.pop(0))

    @rule(code=st.sampled_from(["", "rateLimited", "unavailable"]))
    def server_refuses_for_now(self, code: str) -> None:
        self.server.refusing = code

    @precondition(lambda self: self.server.queue)
    @rule(count=st.integers(1, 5), how=st.sampled_from(["order", "lose", "twice", "swap", "spoil"]))
    def broker_delivers(self, count: int, how: str) -> None:
        for _ in range(min(count, len(self.server.queue)) if self.up or how == "lose" else 0):
            if how == "swap":
                self.server.queue.rotate(-1)
            topic, payload = self.server.queue.popleft()
            if how == "spoil":
                self._do(self.session.received(topic, payload[: self.random.randrange(len(payload))], self.now))
            for _ in range({"lose": 0, "spoil": 0, "twice": 2}.get(how, 1)):
                self._do(self.session.received(topic, payload, self.now))

    @precondition(lambda self: self.up)
    @rule(rounds=st.integers(1, 3))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.server_takes(len(self.wire))
            self.broker_delivers(len(self.server.queue), "order")
            self.now += 600
            self._do(self.session.tick(self.now))

    @rule(ms=st.sampled_from([1, 100, 1_000, 10_000, 400_000]))
    def time_passes(self, ms: int) -> None:
        self.now += ms
        self._do(self.session.tick(self.now))

    @invariant()
    def delivered_in_order_without_gaps_or_repeats(self) -> None:
        for conv, seqs in self.seen.items():
            assert seqs == list(range(1, len(seqs) + 1)), conv

    @invariant()
    def what_is_sent_stays_sent(self) -> None:
        for states in self.states.values():
            known = [state for state in states if state in SETTLED]
            assert known == SETTLED[: len(known)]
            assert states[len(states) - len(known) :] == known
            assert State.FAILED not in states

    @invariant()
    def every_id_has_one_number(self) -> None:
        for log in self.server.logs.values():
            keys = [(entry.from_, entry.device, entry.id) for entry in log]
            assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        if self.boots:
            self._calm_down()
            for conv, log in self.server.logs.items():
                assert self.seen[conv] == [entry.seq for entry in log]
                assert self.server.marks[conv].get((ALICE, "delivered"), 0) >= self._last_of_others(conv)
            assert self.session.unsent == 0
            assert not list(self.outbox.entries())
            for conv, marks in self.server.marks.items():
                for (user, kind), to in marks.items():
                    assert kind != "read" or self.marks[conv, user, kind] == to, "what was read is known here"
            stored = {(conv, e.id) for conv, log in self.server.logs.items() for e in log if e.device == PHONE}
            assert {key for key, states in self.states.items() if State.PENDING in states} == stored

    def _last_of_others(self, conv: ConvId) -> int:
        return max((e.seq for e in self.server.logs[conv] if e.from_ != ALICE), default=0)

    def _calm_down(self) -> None:
        """Let everything through until heads were compared twice; a forgetful broker first loses all that it had."""
        self.server.refusing = ""
        if self.forgetful:
            self.server.queue.clear()
        if not self.up:
            self.connect()
        end = self.now + 900_000
        while self.now < end:
            while self.wire or self.server.queue:
                self.server_takes(len(self.wire))
                self.broker_delivers(len(self.server.queue), "order")
            wake = self.session.wake_at
            assert wake is not None
            assert wake - self.now < 400_000
            self.now = max(wake, self.now + 1)
            self._do(self.session.tick(self.now))


SessionAgainstServer.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestSessionAgainstServer = SessionAgainstServer.TestCase
