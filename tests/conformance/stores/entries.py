"""Values for the suites: users, conversations, and entries as an owner would make them."""

from stores.ports.entries import (
    Conversation,
    Epoch,
    IdKey,
    JournalEntry,
    MarkMove,
    Member,
    Row,
    Window,
)
from tidings.protocol.ids import ConvId, DeviceId, Group, MessageId, UserId

DAY = 86_400_000
NOW = 1_790_000_000_000
A = Group("a")
B = Group("b")
PHONE = DeviceId("d000000001")
TABLET = DeviceId("d000000002")


def user(number: int) -> UserId:
    """Make a user id."""
    return UserId(f"00a1u{number:016}")


def conv(number: int, lane: str = "a1") -> ConvId:
    """Make a conversation id on a lane."""
    return ConvId(f"00{lane}g{number:026}")


ALICE, BOB, CAROL = user(1), user(2), user(3)
CONV = conv(1)


def row(seq: int, *, of: ConvId = CONV, id_: str = "", at: int = NOW, sender: UserId = ALICE, **given) -> Row:
    """Make a row; its id is told from its number unless given."""
    fields = {
        "kind": "text",
        "payload": b'{"seq":%d}' % seq,
        "digest": b"%016d" % seq,
        "device": PHONE,
    } | given
    return Row(conv=of, seq=seq, id=MessageId(id_ or f"m{seq}"), sender=sender, at=at, **fields)


def header(head: int, receipts: int = 0, *, of: ConvId = CONV, **given) -> Conversation:
    """Make a conversation's header."""
    return Conversation(of, "g", head, receipts, created_at=NOW, created_by=ALICE, **given)


def member(who: UserId, *windows: tuple[int, int], of: ConvId = CONV, role: str = "member") -> Member:
    """Make a member with these windows, by default one from 1, open."""
    return Member(of, who, role, tuple(Window(*window) for window in windows or ((1, 0),)))


def move(who: UserId, from_: int, to: int, version: int, *, kind: str = "read", of: ConvId = CONV, **given) -> MarkMove:
    """Make a watermark's move."""
    return MarkMove(of, who, kind, from_, to, NOW + version, version, **given)


def key(id_: str, *, who: UserId = ALICE, device: DeviceId = PHONE, of: ConvId = CONV) -> IdKey:
    """Make an idempotency key."""
    return IdKey(of, who, device, MessageId(id_))


def entry(n: int, *rows: Row, epoch: int = 1, group: Group = A, at: int = NOW, **given) -> JournalEntry:
    """Make an entry of these rows; their conversations' headers follow them unless `conversations` is given."""
    if "conversations" not in given:
        heads = {found.conv: found.seq for found in sorted(rows, key=lambda found: found.seq)}
        given["conversations"] = tuple(header(seq, of=of) for of, seq in heads.items())
    return JournalEntry(group, n, Epoch(epoch), at, rows=rows, **given)
