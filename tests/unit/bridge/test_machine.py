"""The lane group by hand: effects taken one by one, results given in any order, late and twice."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from msgspec import Raw

from bridge import outgoing
from bridge import state as state_module
from bridge.batch import Bounds
from bridge.effects import Ack, Answer, AskPeople, Commit, Effect, GiveUp, Keep, Load, Moment, Publish
from bridge.intake import Item, Sender
from bridge.lanegroup import LaneGroup
from bridge.state import State
from stores.memory.log import MemoryLog
from stores.ports.directory import Person
from stores.ports.entries import Conversation, Epoch, JournalEntry, Member, Opened, Row, Snapshot, Window
from stores.ports.log import Outcome
from tests.unit.bridge.deciding import direct, done, group
from tests.unit.bridge.house import ALICE, BOB, DIRECT, GROUP, NOW, PHONE, text
from tidings.protocol import codec
from tidings.protocol.commands import RemoveMember
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, MessageId
from tidings.protocol.link import Handle, Inbound
from tidings.protocol.payloads import Command, DoHeads, DoSync, Message, SyncReply

E = TypeVar("E")
SNAPSHOT = Snapshot(
    Conversation(DIRECT, "d", head=1, receipts=0, created_at=NOW, created_by=ALICE),
    (Member(DIRECT, ALICE, "member", (Window(1),)), Member(DIRECT, BOB, "member", (Window(1),))),
    {},
    (Row(DIRECT, 1, MessageId("created"), ALICE, DeviceId(""), NOW, "direct.created", b"{}", b""),),
    (),
    True,
)


class Hands:
    """Drives a lane group; `steady` time stands still unless it is moved."""

    def __init__(self, bounds: Bounds | None = None, wall: int = NOW) -> None:
        self.now = Moment(wall, 1_000)
        opened = Opened(Epoch(4), 5, ())
        self.machine = LaneGroup(GROUP, opened, self.now, owner="me", new_id=lambda: MessageId("new"), bounds=bounds)
        self.machine.connected(self.now)
        self.packet = 0

    def say(self, *said: tuple[str, bytes], connection: int = 1) -> None:
        """Let messages arrive."""
        arrived = []
        for topic, payload in said:
            self.packet += 1
            arrived.append(Inbound(topic, payload, 1, Handle(connection, self.packet)))
        self.machine.receive(arrived, self.now)

    def ready(self) -> None:
        """Answer the load and the question about people that a first message asks."""
        (load,) = self.effects(Load)
        self.machine.loaded(load.conv, SNAPSHOT, self.now)
        self.know()

    def know(self) -> None:
        """Answer the question about people that a first message asks, and the first after a reconnect."""
        asked = self.one(AskPeople)
        self.machine.told_people(asked.users, {who: Person(who) for who in asked.users}, self.now)

    def effects(self, form: type[E]) -> list[E]:
        """Take all effects; they must all be of this form."""
        effects: Sequence[Effect] = self.machine.take()
        assert all(isinstance(effect, form) for effect in effects), effects
        return [effect for effect in effects if isinstance(effect, form)]

    def one(self, form: type[E]) -> E:
        """Take the one effect that there must be."""
        (effect,) = self.effects(form)
        return effect


def test_the_whole_way_of_a_message() -> None:
    hands = Hands()
    hands.say(text("m1"))
    hands.ready()
    commit = hands.one(Commit)
    assert (commit.entry.n, commit.entry.epoch, commit.entry.published) == (5, 4, 4)
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    publish = hands.one(Publish)
    assert [message.topic for message in publish.messages] == [f"u/{ALICE}/in/msg", f"u/{BOB}/in/msg"]
    hands.machine.published(publish.number, hands.now)
    assert hands.one(Ack).handles == (Handle(1, 1),)
    assert hands.machine.idle


def test_the_answer_to_a_publish_of_a_cut_connection_is_not_taken_for_a_later_ones() -> None:
    hands = Hands()
    hands.say(text("m1"))
    hands.ready()
    hands.one(Commit)
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    old = hands.one(Publish)
    hands.machine.lost(hands.now)
    hands.one(Commit)
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    hands.machine.connected(hands.now)
    again = hands.one(Publish)
    assert again.messages == old.messages
    hands.say(text("m2"), connection=2)
    hands.know()
    hands.machine.published(old.number, hands.now)
    assert hands.machine.take() == [], "the second is still on its way"
    hands.machine.published(again.number, hands.now)
    assert isinstance(hands.machine.take()[-1], Commit)


@pytest.mark.parametrize("step", ["filling", "committing", "publishing"])
def test_case_ack_handles_do_not_outlive_their_connection(step: str) -> None:
    hands = Hands()
    hands.say(text("m0"))
    hands.ready()
    hands.one(Commit)
    if step == "filling":
        hands.say(text("m1"))
    if step == "publishing":
        hands.machine.committed(Outcome.COMMITTED, hands.now)
        hands.one(Publish)
    hands.machine.lost(hands.now)
    if step == "publishing":
        hands.one(Commit)
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    hands.machine.connected(hands.now)
    told = 0
    while effects := hands.machine.take():
        for effect in effects:
            assert not isinstance(effect, Ack), effect
            if isinstance(effect, Commit):
                hands.machine.committed(Outcome.COMMITTED, hands.now)
            elif isinstance(effect, Publish):
                told += 1
                hands.machine.published(effect.number, hands.now)
    assert told == (2 if step == "filling" else 1)
    assert hands.machine.idle


def test_what_waits_when_the_link_is_lost_is_left_to_come_again() -> None:
    hands = Hands()
    hands.say(text("m1"))
    load = hands.one(Load)
    hands.machine.lost(hands.now)
    probe = hands.one(Commit)
    assert (probe.entry.rows, probe.entry.n) == ((), 5)
    hands.machine.loaded(load.conv, SNAPSHOT, hands.now)
    assert hands.machine.take() == []
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    assert hands.machine.take() == []


def test_an_owner_that_was_fenced_while_proving_gives_up_and_does_nothing_more() -> None:
    hands = Hands()
    hands.machine.lost(hands.now)
    hands.one(Commit)
    hands.machine.committed(Outcome.FENCED, hands.now)
    hands.one(GiveUp)
    hands.say(text("m1"))
    hands.machine.connected(hands.now)
    hands.machine.tick(hands.now)
    assert hands.machine.take() == []


def test_a_commit_on_its_way_when_the_link_is_lost_is_proof_enough() -> None:
    hands = Hands()
    hands.say(text("m1"))
    hands.ready()
    hands.one(Commit)
    hands.machine.lost(hands.now)
    assert hands.machine.take() == []
    proved = [hands.machine.proved]
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    proved.append(hands.machine.proved)
    assert proved == [False, True]
    assert hands.machine.take() == [], "committed, and it waits for a connection"
    hands.machine.connected(hands.now)
    hands.one(Publish)


def test_dead_letters_are_kept_before_the_error_is_told_and_the_message_acknowledged() -> None:
    hands = Hands()
    hands.say((text()[0], b"\xff"))
    keep = hands.one(Keep)
    assert [letter.payload for letter in keep.letters] == [b"\xff"]
    hands.machine.kept(hands.now)
    publish = hands.one(Publish)
    hands.machine.published(publish.number, hands.now)
    hands.one(Ack)


def test_an_entry_is_never_older_than_what_it_holds() -> None:
    hands = Hands(wall=NOW - 86_400_000)
    hands.say(text("m1"))
    hands.ready()
    entry = hands.one(Commit).entry
    assert entry.at >= entry.rows[0].at >= NOW


def test_loads_are_bounded() -> None:
    hands = Hands(Bounds(loads=1))
    hands.say(text("m1"), text("m1", "x", ALICE, ALICE))
    hands.one(Load)


def test_a_batch_is_bounded_by_bytes() -> None:
    hands = Hands(Bounds(batch_bytes=10_000))
    hands.say(*(text(f"m{n}", "x" * 4_000) for n in range(9)))
    hands.ready()
    assert len(hands.one(Commit).entry.rows) == 3


def test_who_left_is_not_told_what_came_after_in_the_same_batch() -> None:
    talk = group(BOB)
    left = done(talk.alter(RemoveMember(ALICE)))
    told = [outgoing.entry(row, talk.state.members, (ALICE, BOB)) for row in left.rows]
    assert [[message.topic.split("/")[1] for message in messages] for messages in told] == [[ALICE, BOB], [BOB]]


def test_too_many_ids_are_known_to_be_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "IDS_MOST", 3)
    talk = direct()
    for n in range(3):
        done(talk.say(ALICE, str(n), id_=f"m{n}"))
    assert len(talk.state.ids) == 3
    assert not talk.state.ids_whole


def test_too_many_hidden_entries_are_known_to_be_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "HIDDEN_MOST", 2)
    talk = direct()
    talk.block(BOB, ALICE)
    for _ in range(4):
        done(talk.say(ALICE))
    assert talk.state.hidden[BOB] == [4, 5]
    assert talk.state.known_from == 4


def test_ids_past_their_time_are_dropped_from_memory() -> None:
    talk = direct()
    done(talk.say(ALICE))
    talk.now += state_module.KEPT_MS + 1
    for _ in range(5):
        done(talk.say(ALICE))
    assert all(talk.now - known.at <= state_module.KEPT_MS for known in talk.state.ids.values())
    assert talk.state.ids_whole


def test_the_tail_is_bounded_by_bytes() -> None:
    talk = direct()
    for _ in range(20):
        done(talk.say(ALICE, "x" * 60_000))
    assert sum(len(row.payload) for row in talk.state.tail) <= state_module.TAIL_BYTES
    assert talk.state.row(talk.state.head) is not None
    assert talk.state.row(2) is None


async def test_a_loaded_state_decides_as_the_one_in_memory_did() -> None:
    talk, log = direct(), MemoryLog()
    opened = await log.open(GROUP, "me", NOW)
    decision = done(talk.say(ALICE, "one", id_="m"))
    await log.commit(
        JournalEntry(
            GROUP,
            opened.next_n,
            opened.epoch,
            NOW,
            rows=decision.rows,
            members=decision.members,
            conversations=(talk.state.header(),),
        )
    )
    loaded = State.load(talk.state.conv, await log.load(talk.state.conv, ids_since=0))
    for name in ("head", "receipts", "members", "marks", "ids", "ids_whole", "hidden", "known_from", "last_at"):
        assert getattr(loaded, name) == getattr(talk.state, name), name


@pytest.mark.parametrize("step", ["committing", "filling"])
def test_case_a_repeat_of_what_is_not_committed_yet_is_answered_with_its_own_entry(step: str) -> None:
    hands = Hands()
    long = "x" * 60_000
    hands.say(text("first", "hi"))
    hands.ready()
    first = hands.one(Commit)
    names = ["first", "m1", "m2", "m3"] if step == "committing" else ["m1", "m2", "m3", "m4"]
    hands.say(*(text(name, long) for name in names if name != "first"))
    hands.say(text(names[0], "hi" if step == "committing" else long))
    assert hands.machine.take() == [], "the store does not have it yet: it is not asked"
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    hands.machine.published(hands.one(Publish).number, hands.now)
    second = next(effect for effect in hands.machine.take() if isinstance(effect, Commit))
    hands.machine.committed(Outcome.COMMITTED, hands.now)
    copies = [m.payload for m in hands.one(Publish).messages if m.topic == f"u/{ALICE}/{PHONE}/in/msg"]
    rows = [*first.entry.rows, *second.entry.rows]
    assert copies == [next(row.payload for row in rows if row.id == names[0])]


def test_a_remembered_refusal_keeps_nothing_of_what_it_went_through() -> None:
    hands = Hands()
    refusals = hands.machine._refusals
    command = Command(MessageId("c1"), "group.change", DIRECT, ALICE, "s/api/1/re", NOW, Raw(b"{}"))
    inbound = Inbound("s/00/do", b"", 1, Handle(1, 1))
    try:
        raise Refusal(Code.NOT_ALLOWED, "no", retry_after=1.5)
    except Refusal as refusal:
        refusals.refuse(Item(inbound, DoHeads(MessageId("c1")), None, "c1", command), refusal)
    for _ in range(3):
        with pytest.raises(Refusal, match="no") as told:
            refusals.check_repeat(command)
        assert told.value.retry_after == 1.5
    assert [kept.__traceback__ for kept in refusals._remembered.values()] == [None]


GARBAGE = (f"u/{ALICE}/{PHONE}/out/{DIRECT[2:4]}/{DIRECT}/msg", b"\xff")


def test_what_nobody_waits_for_is_dropped_while_nothing_can_leave() -> None:
    hands = Hands(Bounds(batch_outgoing=50))
    hands.say(text("m1"))
    hands.ready()
    hands.one(Commit)
    for _ in range(10):
        hands.machine.receive([Inbound(*GARBAGE, 0, Handle(1, 0))] * 100, hands.now)
    filling = hands.machine._pipeline.filling
    assert len(filling.outgoing) == 50
    hands.say(GARBAGE)
    assert len(filling.outgoing) == 51, "at QoS 1 it is told: the link bounds how many wait"


def test_questions_wait_while_nothing_can_leave() -> None:
    hands = Hands(Bounds(batch_bytes=5_000))
    hands.say(text("m1"))
    hands.ready()
    hands.one(Commit)
    asked = (f"u/{ALICE}/{PHONE}/do/{DIRECT[2:4]}/sync", codec.encode(DoSync(MessageId("s1"), DIRECT)))
    page = tuple(Message(conv=DIRECT, seq=seq, body="x" * 500) for seq in range(1, 11))
    answer_ = SyncReply(MessageId("s1"), DIRECT, page, False, 1, 10)
    for _ in range(5):
        hands.machine._ask(_asking(asked), DoSync(MessageId("s1"), DIRECT))
        for effect in hands.machine.take():
            assert isinstance(effect, Answer)
            hands.machine.answered(effect.question, answer_, hands.now)
    topics_ = [message.topic.rsplit("/", 1)[1] for message in hands.machine._pipeline.filling.outgoing]
    assert topics_ == ["reply", "error", "error", "error", "error"]


def _asking(asked: tuple[str, bytes]) -> Item:
    inbound = Inbound(*asked, 1, Handle(1, 9))
    return Item(inbound, DoSync(MessageId("s1"), DIRECT), Sender(ALICE, PHONE), "s1")


def test_a_key_that_is_used_again_after_its_time_is_the_newest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "IDS_MOST", 3)
    talk = direct()
    done(talk.say(ALICE, "one", id_="again"))
    talk.now += state_module.KEPT_MS - 10
    done(talk.say(ALICE, "two", id_="two"))
    talk.now += 20
    done(talk.say(ALICE, "three", id_="again"))
    done(talk.say(ALICE, "four", id_="four"))
    done(talk.say(ALICE, "five", id_="five"))
    assert [id_ for _, _, id_ in talk.state.ids] == ["again", "four", "five"]
