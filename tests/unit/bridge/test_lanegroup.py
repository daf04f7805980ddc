"""What a lane group answers: refusals, dead letters, limits, typing, receipts, commands, questions, presence."""

import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from bridge.batch import Bounds
from bridge.bridge import Bridge
from bridge.owner import Stores, Surroundings
from stores.ports.directory import Person
from tests.simulation.loop import SimLoop, run
from tests.unit.bridge.house import (
    ALICE,
    BOB,
    CAROL,
    DIRECT,
    GROUP,
    NOW,
    PHONE,
    TABLET,
    Phonebook,
    Session,
    World,
    device,
    out,
    settled,
    text,
    user,
)
from tidings.protocol import codec, ids, topics
from tidings.protocol.codec import Encoding
from tidings.protocol.commands import AddMembers, CreateGroup, MarkRead, RemoveMember
from tidings.protocol.errors import Code
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import (
    Command,
    CommandReply,
    DeviceState,
    DoHeads,
    DoSync,
    DoWatch,
    ErrorNotice,
    HeadsReply,
    Message,
    PresenceNotice,
    Receipt,
    SendMessage,
    SendReceipt,
    SendTyping,
    SyncReply,
    Typing,
    Wire,
)

History = Callable[[World, Bridge], Coroutine[Any, Any, None]]
REPLIES = "s/api/p1/re"
_numbers = itertools.count()


def play(history: History, *, group: ids.Group = GROUP, bounds: Bounds | None = None) -> None:
    """Play a history with a started bridge."""

    async def whole(_: SimLoop) -> None:
        world = World(group)
        bridge = world.bridge(bounds=bounds)
        await bridge.start()
        await history(world, bridge)
        assert world.session.waiting == [], "everything was acknowledged in the end"
        await bridge.stop()

    run(3, whole)


def on_this_lane_group(creator: UserId = ALICE, start: int = 0) -> MessageId:
    """Find a request id whose group lies on the tests' lane group."""
    return next(
        request
        for number in itertools.count(start)
        if ids.group_of(ids.lane_of(ids.group_conversation(creator, request := MessageId(f"r{number}")))) == GROUP
    )


REQUEST = on_this_lane_group()
TEAM = ids.group_conversation(ALICE, REQUEST)


def command(
    verb: str,
    args: Wire,
    *,
    by: UserId = ALICE,
    conv: ConvId = TEAM,
    id_: MessageId | None = None,
    deadline: int = NOW * 2,
) -> tuple[str, bytes]:
    """Build what a service publishes."""
    request = id_ or MessageId(f"command-{next(_numbers)}")
    asked = Command(request, verb, conv, by, REPLIES, deadline, Raw(codec.encode(args)))
    return topics.build(topics.LaneDo(ids.lane_of(conv))), codec.encode(asked)


def replies(world: World) -> list[CommandReply]:
    """List what services were told."""
    return [codec.decode(m.payload, CommandReply) for m in world.session.heard if m.topic == REPLIES]


def heard(world: World, who: UserId, kind: str, form: type[Any], on: DeviceId | None = None) -> list[Any]:
    """List what came on a user's, or one device's, topic."""
    topic = f"u/{who}/{on}/in/{kind}" if on else f"u/{who}/in/{kind}"
    return [codec.decode(m.payload, form) for m in world.session.heard if m.topic == topic]


# Refusals and dead letters.


def test_case_undecodable_bytes_are_told_and_kept() -> None:
    async def history(world: World, _: Bridge) -> None:
        topic, _payload = text()
        world.session.say((topic, b"\xff\x00garbage"))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.BAD_PAYLOAD]
        (letter,) = await world.dead.page()
        assert (letter.topic, letter.payload, letter.code) == (topic, b"\xff\x00garbage", "badPayload")

    play(history)


def test_case_wrong_lane_is_refused_and_not_kept() -> None:
    async def history(world: World, _: Bridge) -> None:
        own = ids.lane_of(DIRECT)
        other = next(lane for lane in ids.lanes_of(GROUP) if lane != own)
        said = SendMessage(MessageId("m1"), "hi", to=BOB)
        world.session.say((topics.build(topics.Out(ALICE, PHONE, other, DIRECT, "msg")), codec.encode(said)))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.WRONG_LANE]
        assert await world.dead.count() == 0
        assert await world.log.header(DIRECT) is None

    play(history)


@pytest.mark.parametrize("topic", ["ch/news", "nonsense", "u/x/y/out/00/z/msg", f"u/{ALICE}/in/msg", "", "u/a/b/c/d"])
def test_foreign_topics_are_kept(topic: str) -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say((topic, b"{}"))
        await settled()
        assert [letter.topic for letter in await world.dead.page()] == [topic]

    play(history)


def test_a_malformed_topic_of_a_device_is_told_to_it() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say((f"u/{ALICE}/{PHONE}/out/zz/{DIRECT}/msg", b"{}"))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.BAD_TOPIC]

    play(history)


@pytest.mark.parametrize(
    ("rest", "payload", "encoding"),
    [
        (f"out/zz/{DIRECT}/msg", codec.encode(SendTyping(True), Encoding.MSGPACK), Encoding.MSGPACK),
        (f"to/zz/{BOB}", "\u07b1 is a letter whose first byte is a MessagePack map's".encode(), Encoding.JSON),
    ],
)
def test_a_malformed_topic_is_told_in_the_encoding_of_the_request(
    rest: str, payload: bytes, encoding: Encoding
) -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say((f"u/{ALICE}/{PHONE}/{rest}", payload))
        await settled()
        (notice,) = [m for m in world.session.heard if m.topic.endswith("/in/error")]
        assert codec.encoding_of(notice.payload) is encoding

    play(history)


def test_a_device_gone_mad_fills_no_store_and_is_told_each_time() -> None:
    async def history(world: World, _: Bridge) -> None:
        topic, _payload = text()
        world.session.say(*((topic, b"\xff") for _ in range(200)))
        await settled()
        assert len(world.session.errors()) == 200
        assert await world.dead.count() == Bounds().dead_letters_a_minute

    play(history)


def test_refusals_have_the_encoding_of_the_request() -> None:
    async def history(world: World, _: Bridge) -> None:
        said = SendMessage(MessageId("m1"), "hi", to=UserId(user(99)))
        conv = ids.direct_conversation(ALICE, BOB)
        topic = topics.build(topics.Out(ALICE, PHONE, ids.lane_of(conv), conv, "msg"))
        world.session.say((topic, codec.encode(said, Encoding.MSGPACK)))
        await settled()
        (notice,) = [m for m in world.session.heard if m.topic.endswith("/in/error")]
        assert codec.encoding_of(notice.payload) is Encoding.MSGPACK
        error = codec.decode(notice.payload, ErrorNotice)
        assert (error.id, error.conv, error.code) == ("m1", conv, Code.UNKNOWN_CONVERSATION)

    play(history)


def test_case_unknown_recipient() -> None:
    async def history(world: World, _: Bridge) -> None:
        stranger = next(
            user(n) for n in range(100, 999) if ids.lane_of(ids.direct_conversation(ALICE, user(n)))[0] == GROUP
        )
        world.session.say(text("m1", "hi", ALICE, stranger))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.UNKNOWN_RECIPIENT]

    play(history)


def test_a_verb_that_is_not_offered_is_refused() -> None:
    async def history(world: World, _: Bridge) -> None:
        own = ids.group_of(ids.lane_of(ALICE))
        assert own == "a"
        for verb in ("call", "keys", "unheard"):
            world.session.say((topics.build(topics.Do(ALICE, PHONE, ids.lane_of(ALICE), verb)), b"{}"))
        await settled()
        assert {error.code for error in world.session.errors()} == {Code.UNSUPPORTED}

    play(history, group=ids.group_of(ids.lane_of(ALICE)))


def test_a_bug_in_one_message_does_not_stop_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge import conversation

    sound = conversation._row

    def broken(order: Any, *args: Any) -> Any:
        if order.message.body == "poison":
            raise ZeroDivisionError
        return sound(order, *args)

    monkeypatch.setattr(conversation, "_row", broken)

    async def history(world: World, _: Bridge) -> None:
        world.session.say(text("m1", "poison"), text("m2", "fine"))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.INTERNAL]
        assert [message.body for message in world.session.messages(BOB)] == ["fine"]
        assert [letter.code for letter in await world.dead.page()] == ["internal"]

    play(history)


# Limits.


def test_a_hundred_messages_a_minute() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(103)))
        await settled()
        errors = world.session.errors()
        assert [(error.id, error.code) for error in errors] == [(f"m{n}", Code.RATE_LIMITED) for n in (100, 101, 102)]
        assert all(0 < error.retry_after <= 1 for error in errors)
        world.session.say(text("m7", "x"))
        await settled(1)
        assert len(world.session.errors()) == 3, "a repeat costs nothing"
        world.session.say(text("m100", "x"), text("b1", "x", BOB, ALICE))
        await settled()
        assert len(world.session.errors()) == 3, "after a while, and for others, there is room"

    play(history)


def test_case_the_limit_is_one_for_all_the_conversations_of_a_process() -> None:
    peers = {ids.group_of(ids.lane_of(ids.direct_conversation(ALICE, user(n)))): user(n) for n in range(2, 60)}
    groups = sorted(peers)[:2]

    async def history(_: SimLoop) -> None:
        world = World()
        world.people.people.update((user(n), Person(user(n))) for n in range(2, 60))
        sessions = {group: Session() for group in groups}
        stores = Stores(world.log, world.log, Phonebook(world.people), world.dead, world.seen)
        around = Surroundings(world.clock, lambda: 0.5, lambda: MessageId("new"), "one")
        bridge = Bridge(groups, stores, lambda group: sessions[group].link(), around)
        await bridge.start()
        for group in groups:
            sessions[group].say(*(text(f"m{n}", "x", ALICE, peers[group]) for n in range(60)))
            await settled(0.1)
        assert [len(sessions[group].errors()) for group in groups] == [0, 20]
        await bridge.stop()

    run(3, history)


def test_messages_limit_can_be_off_for_measuring() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(300)))
        await settled()
        assert len(world.session.messages(BOB)) == 300

    play(history, bounds=Bounds(messages_a_minute=None))


def test_above_its_bound_a_request_is_refused_with_a_hint() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(20)))
        await settled()
        late = [error for error in world.session.errors() if error.code == Code.UNAVAILABLE]
        assert len(late) == 10
        assert all(error.retry_after for error in late)
        assert len(world.session.messages(BOB)) == 10

    play(history, bounds=Bounds(waiting=10))


def test_conversations_are_forgotten_and_loaded_again() -> None:
    async def history(world: World, _: Bridge) -> None:
        peers = [user(n) for n in range(100, 400) if ids.lane_of(ids.direct_conversation(ALICE, user(n)))[0] == GROUP][
            :6
        ]
        world.people.people.update(
            {peer: msgspec.structs.replace(world.people.people[BOB], user=peer) for peer in peers}
        )
        for round_ in range(3):
            for peer in peers:
                world.session.say(text(f"m{round_}", "x", ALICE, peer))
                await settled(0.1)
        for peer in peers:
            rows = await world.log.rows(ids.direct_conversation(ALICE, peer), 1, 99)
            assert [row.seq for row in rows] == [1, 2, 3, 4]
        world.session.say(text("m0", "x", ALICE, peers[0]))
        await settled()
        assert len(await world.log.rows(ids.direct_conversation(ALICE, peers[0]), 1, 99)) == 4

    play(history, bounds=Bounds(conversations=2))


def test_a_batch_is_bounded() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(100)))
        await settled(2)
        entries = await world.log.read(GROUP, 0, 1_000)
        assert max(len(entry.rows) for entry in entries) <= 11
        assert len(world.session.messages(BOB)) == 100

    play(history, bounds=Bounds(batch_rows=10))


def test_one_directory_read_serves_many_messages() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(50)))
        await settled()
        assert world.people.asked == 1
        await settled(31)
        world.session.say(text("later", "x"))
        await settled()
        assert world.people.asked == 2

    play(history)


# The doormat, blocks, typing.


def test_the_doormat_takes_text_with_and_without_an_id() -> None:
    async def history(world: World, _: Bridge) -> None:
        lane = ids.lane_of(DIRECT)
        with_id = topics.build(topics.Doormat(ALICE, PHONE, lane, BOB, MessageId("t1")))
        plain = topics.build(topics.DoormatPlain(ALICE, PHONE, lane, BOB))
        world.session.say((with_id, b"21.5"), (with_id, b"21.5"), (plain, b'{"not": "decoded"}'), (plain, b"22"))
        world.session.say((plain, b"\xff\xfe"), (plain, b""))
        await settled()
        assert [m.body for m in world.session.messages(BOB)] == ["21.5", '{"not": "decoded"}', "22"]
        assert [error.code for error in world.session.errors()] == [Code.BAD_PAYLOAD, Code.BAD_VALUE]

    play(history)


def test_a_blocked_senders_message_comes_to_all_but_the_blocker() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.people.people[BOB] = msgspec.structs.replace(world.people.people[BOB], blocks=frozenset({ALICE}))
        world.session.say(text("m1", "hi"), out(ALICE, SendTyping(), verb="typing"))
        await settled()
        assert [m.body for m in world.session.messages(ALICE)] == ["hi"], "the sender is not told"
        assert world.session.messages(BOB) == []
        assert heard(world, BOB, "event", Message) == [], "not even that it was begun"
        assert heard(world, BOB, "typing", Typing) == []
        page = await sync(world, BOB, DoSync(MessageId("s"), DIRECT))
        assert [m.kind for m in page.messages] == ["tombstone", "tombstone"]

    play(history)


def test_typing_is_passed_on_at_once_and_not_stored() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(text("m1", "hi"))
        await settled()
        for active in (True, True, True, False):
            world.session.say(out(ALICE, SendTyping(active), verb="typing"), qos=0)
        world.session.say(out(CAROL, SendTyping(True), verb="typing"), qos=0)
        await settled(2)
        world.session.say(out(ALICE, SendTyping(True), verb="typing"), qos=0)
        await settled()
        assert [notice.active for notice in heard(world, BOB, "typing", Typing)] == [True, False, True]
        assert heard(world, ALICE, "typing", Typing) == []
        assert (await world.log.rows(DIRECT, 1, 99))[-1].seq == 2

    play(history)


# Receipts.


def test_case_both_ticks_reach_the_sender() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(text("m1", "hi"))
        await settled()
        world.session.say(out(BOB, SendReceipt("delivered", 0, 2), verb="receipt"))
        await settled(0.1)
        world.session.say(out(BOB, SendReceipt("read", 0, 2), verb="receipt"))
        await settled(4)
        told = heard(world, ALICE, "receipt", Receipt)
        assert [(r.user, r.kind, r.from_, r.to, r.version) for r in told] == [
            (BOB, "delivered", 0, 2, 1),
            (BOB, "read", 0, 2, 2),
        ]

    play(history)


def test_what_is_read_in_secret_is_told_to_the_readers_own_devices_alone() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.people.people[BOB] = Person(BOB, hides_read=True)
        world.session.say(text("m1", "hi"))
        await settled()
        world.session.say(out(BOB, SendReceipt("read", 0, 2), verb="receipt"))
        await settled(4)
        own = heard(world, BOB, "receipt", Receipt)
        assert [(r.user, r.kind, r.to) for r in own] == [(BOB, "delivered", 2), (BOB, "read", 2)]
        assert [(r.user, r.kind, r.to) for r in heard(world, ALICE, "receipt", Receipt)] == [(BOB, "delivered", 2)]

    play(history)


def test_later_receipts_are_merged_to_one_in_three_seconds() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x") for n in range(40)))
        await settled()
        for seq in range(1, 41):
            world.session.say(out(BOB, SendReceipt("delivered", seq - 1, seq), verb="receipt"))
            await settled(0.1)
        await settled(5)
        told = [(r.from_, r.to) for r in heard(world, ALICE, "receipt", Receipt)]
        assert told[0] == (0, 1)
        assert len(told) <= 4
        assert [low for low, _ in told[1:]] == [to for _, to in told[:-1]], "ranges without gaps"
        assert told[-1][1] == 40

    play(history)


def test_a_drain_tells_receipts_that_were_held_back() -> None:
    async def history(world: World, bridge: Bridge) -> None:
        world.session.say(text("m1", "x"), text("m2", "x"))
        await settled()
        world.session.say(out(BOB, SendReceipt("delivered", 0, 1), verb="receipt"))
        world.session.say(out(BOB, SendReceipt("delivered", 1, 3), verb="receipt"))
        await settled(0.1)
        await bridge.stop()
        assert [r.to for r in heard(world, ALICE, "receipt", Receipt)] == [1, 3]

    play(history)


# Commands.


def test_a_group_by_commands() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(command("group.create", CreateGroup("team", (BOB,)), id_=REQUEST))
        await settled()
        world.session.say(out(ALICE, SendMessage(MessageId("g1"), "welcome"), TEAM))
        world.session.say(command("member.add", AddMembers((CAROL,))))
        world.session.say(out(BOB, SendMessage(MessageId("g2"), "hello"), TEAM))
        await settled()
        assert [(reply.code, reply.seq) for reply in replies(world)] == [("", 1), ("", 3)]
        assert [m.kind for m in world.session.messages(BOB, "event")] == ["group.created", "member.added"]
        assert [m.body for m in world.session.messages(CAROL)] == ["hello"]
        assert [m.kind for m in world.session.messages(CAROL, "event")] == ["member.added"]

    play(history)


def test_case_member_removed_in_mid_stream_sees_its_removal_and_nothing_later() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(command("group.create", CreateGroup("team", (BOB, CAROL)), id_=REQUEST))
        await settled()
        talk = [out(ALICE, SendMessage(MessageId(f"g{n}"), str(n)), TEAM) for n in range(10)]
        world.session.say(*talk[:5], command("member.remove", RemoveMember(BOB)), *talk[5:])
        await settled()
        assert [m.body for m in world.session.messages(BOB)] == ["0", "1", "2", "3", "4"]
        assert world.session.messages(BOB, "event")[-1].kind == "member.removed"
        assert len(world.session.messages(CAROL)) == 10
        world.session.say(out(BOB, SendMessage(MessageId("b"), "still here?"), TEAM))
        await settled()
        assert [error.code for error in world.session.errors(BOB)] == [Code.NOT_MEMBER]

    play(history)


def test_a_repeated_command_gets_the_first_outcome() -> None:
    async def history(world: World, _: Bridge) -> None:
        create = command("group.create", CreateGroup("team", (BOB,)), id_=REQUEST)
        refused = command("member.add", AddMembers((user(99),)), id_=MessageId("add"))
        world.session.say(create, create, refused)
        await settled()
        world.people.people[user(99)] = msgspec.structs.replace(world.people.people[BOB], user=user(99))
        world.session.say(refused, create)
        await settled(40)
        world.session.say(refused)
        await settled()
        outcomes = [(reply.code, reply.seq) for reply in replies(world)]
        assert outcomes == [("", 1), ("", 1), *[("unknownRecipient", 0)] * 2, ("", 1), ("unknownRecipient", 0)]
        assert len(await world.log.rows(TEAM, 1, 9)) == 1

    play(history)


def test_a_command_past_its_deadline_is_refused_unless_it_was_done() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(command("group.create", CreateGroup("team"), id_=REQUEST, deadline=NOW - 1))
        await settled()
        world.session.say(command("group.create", CreateGroup("team"), id_=REQUEST))
        await settled()
        world.session.say(command("group.create", CreateGroup("team"), id_=REQUEST, deadline=NOW - 1))
        await settled()
        assert [reply.code for reply in replies(world)] == [Code.DEADLINE_PASSED, "", ""]

    play(history)


def test_messages_and_receipts_by_command() -> None:
    async def history(world: World, _: Bridge) -> None:
        said = SendMessage(MessageId("h1"), "by http", to=BOB)
        world.session.say(command("message.send", said, conv=DIRECT, id_=MessageId("h1")))
        await settled()
        world.session.say(command("receipt", MarkRead("read", 2), by=BOB, conv=DIRECT))
        world.session.say(command("message.send", said, conv=DIRECT, id_=MessageId("h1")))
        await settled()
        assert [(reply.code, reply.seq) for reply in replies(world)] == [("", 2), ("", 0), ("", 2)]
        assert [m.body for m in world.session.messages(BOB)] == ["by http"]
        assert {r.kind for r in heard(world, ALICE, "receipt", Receipt)} == {"delivered", "read"}

    play(history)


@pytest.mark.parametrize(
    ("verb", "payload", "code"),
    [
        ("unheard.of", b"{}", Code.UNSUPPORTED),
        ("group.create", b'{"name": 7}', Code.BAD_PAYLOAD),
        ("receipt", b'{"kind": "seen", "to": 1}', Code.BAD_VALUE),
    ],
)
def test_a_bad_command_is_answered(verb: str, payload: bytes, code: Code) -> None:
    async def history(world: World, _: Bridge) -> None:
        asked = Command(MessageId("c"), verb, TEAM, ALICE, REPLIES, NOW * 2, Raw(payload))
        world.session.say((topics.build(topics.LaneDo(ids.lane_of(TEAM))), codec.encode(asked)))
        await settled()
        assert [reply.code for reply in replies(world)] == [code]

    play(history)


# Questions.


async def ask(world: World, who: UserId, request: DoHeads | DoSync | DoWatch, form: type[Any]) -> Any:
    """Ask the owner of the user's own lane, beside the one of the conversation."""
    own = ids.group_of(ids.lane_of(who))
    there = World(own, world.log)
    there.people = world.people
    bridge = there.bridge("questions")
    await bridge.start()
    verb = {DoHeads: "heads", DoSync: "sync", DoWatch: "watch"}[type(request)]
    there.session.say((topics.build(topics.Do(who, PHONE, ids.lane_of(who), verb)), codec.encode(request)))
    await settled()
    await bridge.stop()
    answers = heard(there, who, "reply", form, PHONE) or there.session.errors(who)
    return answers[0]


async def sync(world: World, who: UserId, request: DoSync) -> SyncReply:
    answer = await ask(world, who, request, SyncReply)
    assert isinstance(answer, SyncReply), answer
    return answer


def test_heads_and_history_over_mqtt() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", f"text {n}") for n in range(8)))
        await settled()
        world.session.say(out(BOB, SendReceipt("delivered", 0, 5), verb="receipt"))
        await settled()
        heads = await ask(world, ALICE, DoHeads(MessageId("h")), HeadsReply)
        assert [(head.conv, head.first, head.seq, head.receipts) for head in heads.heads] == [(DIRECT, 1, 9, 1)]
        page = await sync(world, ALICE, DoSync(MessageId("s"), DIRECT, after=2, limit=3))
        assert [m.seq for m in page.messages] == [3, 4, 5]
        assert (page.has_more, page.first, page.head, page.receipts) == (True, 1, 9, 1)
        assert [(mark.user, mark.delivered) for mark in page.marks] == [(BOB, 5)]
        page = await sync(world, ALICE, DoSync(MessageId("s"), DIRECT, before=4))
        assert [m.seq for m in page.messages] == [1, 2, 3]
        assert not page.has_more
        refused = await ask(world, CAROL, DoSync(MessageId("s"), DIRECT), SyncReply)
        assert refused.code == Code.UNKNOWN_CONVERSATION

    play(history)


def test_a_missing_row_is_answered_and_counted() -> None:
    async def history(world: World, _: Bridge) -> None:
        def missing() -> float:
            return REGISTRY.get_sample_value("tidings_bridge_missing_rows_total") or 0

        world.session.say(text("m1"), text("m2"))
        await settled()
        before = missing()
        del world.log._rows[DIRECT][2]
        page = await sync(world, ALICE, DoSync(MessageId("s"), DIRECT, after=0))
        assert [(m.seq, m.kind) for m in page.messages][1:] == [(2, "tombstone"), (3, "text")]
        assert missing() == before + 1

    play(history)


def test_a_reply_fits_a_packet() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(*(text(f"m{n}", "x" * 60_000) for n in range(8)))
        await settled()
        page = await sync(world, ALICE, DoSync(MessageId("s"), DIRECT, after=1))
        assert [m.seq for m in page.messages] == [2, 3, 4]
        assert page.has_more
        page = await sync(world, ALICE, DoSync(MessageId("s"), DIRECT))
        assert [m.seq for m in page.messages] == [7, 8, 9]
        assert page.has_more

    play(history)


# Presence.


def state(who: UserId, status: str, connection: str, on: DeviceId = PHONE) -> tuple[str, bytes]:
    """Build what a device tells of itself, or its will."""
    return topics.build(topics.Presence(who, on, ids.lane_of(who))), codec.encode(DeviceState(status, connection))


def test_case_a_stale_will_does_not_mark_a_live_device_offline() -> None:
    async def history(world: World, _: Bridge) -> None:
        watch = (
            topics.build(topics.Do(ALICE, PHONE, ids.lane_of(ALICE), "watch")),
            codec.encode(DoWatch(MessageId("w"), (BOB,))),
        )
        world.session.say(state(BOB, "online", "c1"), watch)
        await settled(3)
        world.session.say(state(BOB, "online", "c2"), state(BOB, "offline", "c1"))
        await settled(3)
        world.session.say(state(BOB, "offline", "c2"))
        await settled(3)
        told = heard(world, ALICE, "presence", PresenceNotice)
        assert [notice.status for notice in told] == ["online", "offline"]
        assert told[-1].last_seen > NOW
        await settled(20)
        assert BOB in await world.seen.get(frozenset({BOB}))

    play(history, group=ids.group_of(ids.lane_of(BOB)))


def test_presence_is_told_to_those_who_look_and_may() -> None:
    async def history(world: World, _: Bridge) -> None:
        people = world.people.people
        people[BOB] = msgspec.structs.replace(people[BOB], blocks=frozenset({CAROL}))
        lane = ids.lane_of(BOB)
        for watcher in (ALICE, CAROL):
            asked = codec.encode(DoWatch(MessageId("w"), (BOB,)))
            world.session.say((topics.build(topics.Do(watcher, PHONE, lane, "watch")), asked))
        await settled()
        world.session.say(state(BOB, "away", "c1"), state(BOB, "online", "c9", TABLET))
        await settled(3)
        assert [n.status for n in heard(world, ALICE, "presence", PresenceNotice)] == ["offline", "away", "online"]
        assert heard(world, CAROL, "presence", PresenceNotice) == []
        await settled(61)
        world.session.say(state(BOB, "offline", "c9", TABLET))
        await settled(3)
        assert len(heard(world, ALICE, "presence", PresenceNotice)) == 3, "a watch lasts 60 s"

    play(history, group=ids.group_of(ids.lane_of(BOB)))


def test_a_watch_reaches_the_owners_of_other_lanes() -> None:
    async def history(world: World, _: Bridge) -> None:
        far = ids.make_user_id(bytes([0x31, *range(10)]))
        asked = codec.encode(DoWatch(MessageId("w"), (far, BOB, UserId("nobody"))))
        world.session.say((topics.build(topics.Do(ALICE, PHONE, ids.lane_of(ALICE), "watch")), asked))
        await settled()
        (passed,) = [m for m in world.session.heard if m.topic == f"s/{ids.lane_of(far)}/do"]
        there = World(ids.group_of(ids.lane_of(far)))
        there.people.people[far] = msgspec.structs.replace(there.people.people[BOB], user=far)
        bridge = there.bridge()
        await bridge.start()
        there.session.say((passed.topic, passed.payload), state(far, "online", "c1", device(9)))
        await settled(3)
        assert there.session.waiting == []
        assert [n.status for n in heard(there, ALICE, "presence", PresenceNotice)][-1] == "online"
        await bridge.stop()

    play(history, group=ids.group_of(ids.lane_of(ALICE)))


def test_two_devices_see_the_same_log() -> None:
    async def history(world: World, _: Bridge) -> None:
        world.session.say(text("m1", "from the phone"), text("m1", "from the tablet", on=TABLET))
        await settled()
        copies = world.session.messages(ALICE)
        assert [(copy.device, copy.body) for copy in copies] == [
            (PHONE, "from the phone"),
            (TABLET, "from the tablet"),
        ]
        assert copies == world.session.messages(BOB)
        assert isinstance(copies[0], Message)

    play(history)
