"""The session's rules one by one."""

import pytest
from msgspec.structs import replace

from tests.unit.session.server import ALICE, BOB, LAPTOP, PHONE, WITH_BOB, WITH_CAROL, Server, text
from tidings.protocol import codec, ids, limits, topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import MessageId
from tidings.protocol.payloads import DoSync, ErrorNotice, Message, Receipt, SendMessage, SendReceipt, SyncReply
from tidings.session import (
    Deliver,
    Effect,
    MemoryOutbox,
    Moved,
    Notice,
    Position,
    Publish,
    Session,
    State,
    Status,
    Subscribe,
    Unsent,
)
from tidings.session.log import HELD_MOST, ConversationLog
from tidings.session.outbox import LOOK_UP_AFTER_MS, back_off
from tidings.session.requests import FLYING_MOST, Requests, Want

START = {WITH_BOB: Position(0, 0), WITH_CAROL: Position(0, 0)}


def new_session(**options: object) -> Session:
    given = {"boot": "boot", "jitter": lambda: 0.0, "positions": START, **options}
    return Session(ALICE, PHONE, **given)  # type: ignore[arg-type]


def published(effects: list[Effect], verb: str) -> list[bytes]:
    return [e.payload for e in effects if isinstance(e, Publish) and e.topic.endswith("/" + verb)]


def statuses(effects: list[Effect]) -> list[State]:
    return [effect.state for effect in effects if isinstance(effect, Status)]


def copy_of(number: int, seq: int, conv: ids.ConvId = WITH_BOB) -> tuple[str, bytes]:
    entry = Message(conv, seq, id=MessageId(f"m{number}"), from_=ALICE, device=PHONE, body=f"text {number}")
    return f"u/{ALICE}/in/msg", codec.encode(entry)


def from_bob(seq: int, **changes: object) -> tuple[str, bytes]:
    entry = replace(Message(WITH_BOB, seq, id=MessageId(f"b{seq}"), from_=BOB, device=LAPTOP), **changes)
    return f"u/{ALICE}/in/msg", codec.encode(entry)


def refusal(number: int, code: str, retry_after: float = 0.0) -> tuple[str, bytes]:
    return f"u/{ALICE}/{PHONE}/in/error", codec.encode(ErrorNotice(f"m{number}", code, "no", WITH_BOB, retry_after))


def test_a_connect_subscribes_and_sends_what_waits_one_a_conversation() -> None:
    session = new_session()
    for number, conv in enumerate([WITH_BOB, WITH_BOB, WITH_CAROL]):
        assert statuses(session.send(conv, text(number, conv), 1)) == [State.PENDING]
    effects = session.connected(2)
    assert Subscribe(topics.device_subscriptions(ALICE, PHONE)) in effects
    assert [codec.decode(each, SendMessage).id for each in published(effects, "msg")] == ["m0", "m2"]


def test_the_canonical_copy_is_the_ack_and_lets_the_next_one_go() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    assert not published(session.send(WITH_BOB, text(2, WITH_BOB), 1), "msg")
    effects = session.received(*copy_of(1, 1), 2)
    assert Status(WITH_BOB, MessageId("m1"), State.SENT, 1) in effects
    assert [codec.decode(each, SendMessage).id for each in published(effects, "msg")] == ["m2"]


def test_a_copy_for_another_of_my_devices_is_no_ack() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.received(*from_bob(1, from_=ALICE, device=LAPTOP, id=MessageId("m1")), 2)
    assert session.unsent == 1


def test_an_unanswered_message_is_repeated_byte_for_byte_ever_later() -> None:
    session = new_session()
    session.connected(0)
    first = published(session.send(WITH_BOB, text(1, WITH_BOB), 0), "msg")
    sent = []
    for now in range(0, 60_000, 100):
        if again := published(session.tick(now), "msg"):
            assert again == first
            sent.append(now)
    assert sent == [2_500, 5_500, 9_500, 15_500, 25_500, 43_500]


def test_a_retryable_refusal_holds_the_conversation_and_no_other() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.send(WITH_BOB, text(2, WITH_BOB), 1)
    assert statuses(session.received(*refusal(1, "rateLimited", 30), 10)) == [State.PENDING]
    assert published(session.send(WITH_CAROL, text(3, WITH_CAROL), 20), "msg")
    assert not [each for each in published(session.tick(30_009), "msg") if b"m1" in each]
    assert [each for each in published(session.tick(30_010), "msg") if b"m1" in each]


def test_a_reconnect_does_not_shorten_the_wait_that_was_asked_for() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.received(*refusal(1, "rateLimited", 30), 10)
    session.disconnected(20)
    assert not published(session.connected(30), "msg")
    assert published(session.tick(30_010), "msg")


@pytest.mark.parametrize("code", ["idReused", "unknownRecipient", "aCodeOfLaterTimes"])
def test_a_final_refusal_fails_one_message_and_lets_the_next_go(code: str) -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.send(WITH_BOB, text(2, WITH_BOB), 1)
    effects = session.received(*refusal(1, code), 10)
    assert statuses(effects) == [State.FAILED, State.SENDING]
    assert b"m2" in published(effects, "msg")[0]
    assert session.unsent == 1


def test_a_refused_message_whose_second_copy_is_accepted_is_told_as_sent() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    assert statuses(session.received(*refusal(1, "notMember"), 10)) == [State.FAILED]
    assert statuses(session.received(*copy_of(1, 1), 20)) == [State.SENT]
    assert statuses(session.received(*copy_of(1, 1), 30)) == []


def test_a_reused_id_stays_failed_though_the_log_has_a_message_of_that_id() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.received(*refusal(1, "idReused"), 10)
    assert statuses(session.received(*copy_of(1, 1), 20)) == []


def test_a_message_outside_the_limits_never_enters_the_outbox() -> None:
    session = new_session()
    with pytest.raises(Refusal, match="tooLarge"):
        session.send(WITH_BOB, SendMessage(MessageId("m"), "x" * (limits.TEXT_BYTES + 1)), 0)
    with pytest.raises(Refusal, match="badPayload"):
        session.send(WITH_BOB, SendMessage(MessageId("m"), "\ud800"), 0)
    assert session.unsent == 0


def test_entries_behind_a_gap_wait_until_it_is_filled() -> None:
    session = new_session()
    session.connected(0)
    assert [e.entry.seq for e in session.received(*from_bob(1), 1) if isinstance(e, Deliver)] == [1]
    effects = session.received(*from_bob(4), 2)
    assert not [each for each in effects if isinstance(each, Deliver)]
    ask = codec.decode(published(effects, "sync")[0], DoSync)
    assert (ask.conv, ask.after, ask.before) == (WITH_BOB, 1, 4)
    page = SyncReply(ask.id, WITH_BOB, tuple(codec.decode(from_bob(n)[1], Message) for n in (2, 3)), first=1, head=4)
    effects = session.received(f"u/{ALICE}/{PHONE}/in/reply", codec.encode(page), 3)
    assert [each.entry.seq for each in effects if isinstance(each, Deliver)] == [2, 3, 4]


def test_an_own_message_behind_a_gap_is_acknowledged_all_the_same() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    assert State.SENT in statuses(session.received(*copy_of(1, 9), 2))


def test_heads_wait_for_the_queue_to_drain_but_not_for_ever() -> None:
    session = new_session()
    session.connected(0)
    for seq in range(1, 40):
        now = seq * 200
        effects = session.received(*from_bob(seq), now)
        assert bool(published(effects, "heads")) == (now == 5_000)
    session = new_session()
    session.connected(0)
    assert session.wake_at == 300
    assert published(session.tick(300), "heads")


def test_an_event_says_to_sync_and_heads_are_compared() -> None:
    session = new_session()
    session.connected(0)
    session.tick(300)
    event = codec.encode(Message(WITH_BOB, 0, kind="sync.needed", data={"reason": "queueFull"}))
    assert isinstance(session.received(f"u/{ALICE}/{PHONE}/in/event", event, 400)[0], Notice)


def test_receipts_are_claimed_at_once_then_merged() -> None:
    session = new_session()
    session.connected(0)
    session.tick(300)
    claims = published(session.received(*from_bob(1), 1_000), "receipt")
    assert [codec.decode(each, SendReceipt) for each in claims] == [SendReceipt("delivered", 0, 1)]
    assert not published(session.received(*from_bob(2), 1_010), "receipt")
    session.received(*from_bob(3), 1_020)
    claims = published(session.tick(1_500), "receipt")
    assert [codec.decode(each, SendReceipt) for each in claims] == [SendReceipt("delivered", 1, 3)]


def test_a_lost_receipt_is_claimed_again_at_the_next_comparison() -> None:
    session = new_session()
    session.connected(0)
    session.received(*from_bob(1), 10)
    claims = published(session.tick(310), "receipt")
    assert [codec.decode(each, SendReceipt) for each in claims] == [SendReceipt("delivered", 0, 1)]
    stored = codec.encode(Receipt(WITH_BOB, ALICE, "delivered", 0, 1, 5, 1))
    session.received(f"u/{ALICE}/in/receipt", stored, 320)
    assert not published(session.compare_heads(400_000), "receipt")


def test_nothing_is_claimed_for_own_entries_events_tombstones_or_when_not_asked_to() -> None:
    session = new_session()
    session.connected(0)
    for seq, change in enumerate([{"from_": ALICE}, {"kind": "group.changed"}, {"kind": "tombstone"}], 1):
        assert not published(session.received(*from_bob(seq, **change), seq * 600), "receipt")
    quiet = new_session(claiming=False)
    quiet.connected(0)
    assert not published(quiet.received(*from_bob(1), 1), "receipt")


def test_both_ticks_arrive_whichever_comes_first() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    for version, kind in enumerate(["delivered", "read"], 1):
        moved = codec.encode(Receipt(WITH_BOB, BOB, kind, 0, 1, 5, version))
        assert Moved(WITH_BOB, BOB, kind, 1) in session.received(f"u/{ALICE}/in/receipt", moved, 2)
    assert statuses(session.received(*copy_of(1, 1), 3)) == [State.SENT, State.DELIVERED, State.READ]


def test_what_another_own_device_read_is_told_once() -> None:
    session = new_session()
    session.connected(0)
    moved = codec.encode(Receipt(WITH_BOB, ALICE, "read", 0, 3, 5, 1))
    assert Moved(WITH_BOB, ALICE, "read", 3) in session.received(f"u/{ALICE}/in/receipt", moved, 2)
    assert session.received(f"u/{ALICE}/in/receipt", moved, 3) == []


@pytest.mark.parametrize("stored", [True, False])
def test_an_old_message_that_was_tried_is_looked_up_before_it_is_sent_again(stored: bool) -> None:
    outbox, server, now = MemoryOutbox(), Server(), LOOK_UP_AFTER_MS + 10
    outbox.put(Unsent(WITH_BOB, text(1, WITH_BOB), made=0, tried=True))
    for number in range(2, 12):
        server.say(WITH_BOB, BOB, LAPTOP, text(number, WITH_BOB))
        if stored and number == 3:
            server.say(WITH_BOB, ALICE, PHONE, text(1, WITH_BOB))
    server.queue.clear()
    session = new_session(outbox=outbox, positions={WITH_BOB: Position(0, len(server.logs[WITH_BOB]))})
    effects = session.connected(now)
    told: list[State] = []
    while any(isinstance(each, Publish) for each in effects):
        assert not (stored and published(effects, "msg"))
        told += statuses(effects)
        for each in effects:
            if isinstance(each, Publish):
                server.take(each)
        effects = [more for _ in range(len(server.queue)) for more in session.received(*server.queue.popleft(), now)]
    told += statuses(effects)
    assert told == ([State.SENT] if stored else [State.SENDING, State.SENT])
    assert session.unsent == 0


def test_a_new_device_begins_with_the_backlog() -> None:
    server = Server()
    for number in range(10):
        server.say(WITH_BOB, BOB, LAPTOP, text(number, WITH_BOB))
    server.queue.clear()
    session = new_session(positions=None, backlog=4)
    session.connected(0)
    effects, seen = session.tick(300), []
    while effects:
        for each in effects:
            if isinstance(each, Publish):
                server.take(each)
        effects = [more for _ in range(len(server.queue)) for more in session.received(*server.queue.popleft(), 301)]
        seen += [each.entry.seq for each in effects if isinstance(each, Deliver)]
    assert seen == [7, 8, 9, 10]


def test_what_cannot_be_understood_is_counted_and_harmless() -> None:
    session = new_session()
    session.connected(0)
    for topic in ("", "ch/x", f"u/{ALICE}/in/msg", f"u/{ALICE}/{PHONE}/in/reply", f"u/{ALICE}/{PHONE}/in/error"):
        session.received(topic, b"\xff{", 1)
    assert session.ignored == 5


def test_nothing_is_due_while_disconnected() -> None:
    session = new_session()
    session.send(WITH_BOB, text(1, WITH_BOB), 0)
    assert session.wake_at is None
    assert not [each for each in session.tick(10_000) if isinstance(each, Publish)]


def test_a_log_holds_no_more_than_its_bound_and_remembers_what_exists() -> None:
    log = ConversationLog(Position(0, 0))
    for seq in range(2, HELD_MOST + 100):
        assert log.put(Message(WITH_BOB, seq)) == []
    assert len(log.put(Message(WITH_BOB, 1))) == HELD_MOST + 1
    assert log.behind
    assert log.head == HELD_MOST + 99


def test_few_requests_fly_at_once_and_none_is_forgotten() -> None:
    requests = Requests("boot", lambda: 0.0)
    convs = [ids.group_conversation(ALICE, MessageId(str(number))) for number in range(30)]
    for conv in convs:
        requests.ask(Want("fill", conv), DoSync(MessageId(""), conv), 0)
    asked: set[str] = set()
    while taken := requests.take(0):
        assert len(taken) <= FLYING_MOST
        for request_id, ask in taken:
            assert isinstance(ask, DoSync)
            asked.add(ask.conv)
            want = requests.of(request_id)
            assert want is not None
            requests.forget(want)
    assert asked == set(convs)


def test_back_off_is_bounded_and_jittered() -> None:
    assert [back_off(n, 1.0) for n in range(8)] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    assert back_off(10**6, 0.0) == 30_000


def test_error_codes_are_told_with_the_message() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    failed = [e for e in session.received(*refusal(1, Code.NOT_MEMBER), 2) if isinstance(e, Status)]
    assert failed[0].error is not None
    assert failed[0].error.code == "notMember"


def test_a_lost_last_message_and_a_lost_tick_are_found_by_comparing_heads() -> None:
    server = Server()
    session = new_session()
    session.connected(0)
    session.tick(300)
    server.say(WITH_BOB, BOB, LAPTOP, text(1, WITH_BOB))
    server.move(WITH_BOB, BOB, "read", 1)
    server.queue.clear()
    effects, found = session.compare_heads(400_000), []
    while effects:
        found += [effect for effect in effects if isinstance(effect, Deliver | Moved)]
        for each in effects:
            if isinstance(each, Publish):
                server.take(each)
        effects = [e for _ in range(len(server.queue)) for e in session.received(*server.queue.popleft(), 400_001)]
    assert [each.entry.seq for each in found if isinstance(each, Deliver)] == [1]
    assert Moved(WITH_BOB, BOB, "read", 1) in found


def test_after_a_reconnect_what_is_unanswered_goes_out_at_once() -> None:
    session = new_session()
    session.connected(0)
    session.send(WITH_BOB, text(1, WITH_BOB), 1)
    session.tick(300)
    session.disconnected(400)
    effects = session.connected(401)
    assert published(effects, "msg")
    assert published(effects, "heads")
