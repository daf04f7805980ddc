"""One example of every payload struct, all fields set: what the golden files fix."""

from msgspec import Raw

from tidings.protocol import commands, ids, payloads
from tidings.protocol.ids import DeviceId, MessageId

ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(50, 61)))
PHONE: DeviceId = ids.make_device_id(b"phone!")
CONV = ids.direct_conversation(ALICE, BOB)
ID = MessageId("0192f0c1e5a07cc298c4dc0c0c07398f")
AT = 1_767_225_600_000

ATTACHMENT = payloads.Attachment(
    media="m1",
    type="image/jpeg",
    size=2_048,
    sha256="0" * 64,
    name="sea.jpg",
    width=640,
    height=480,
    duration=1_500,
    thumbnail=b"\x00\xff",
)
FORWARDED = payloads.Forwarded(CONV, 7, 2)
MESSAGE = payloads.Message(
    conv=CONV,
    seq=42,
    id=ID,
    from_=ALICE,
    device=PHONE,
    sent_at=AT - 5,
    at=AT,
    kind="text",
    body="Grüße, 世界 👋",
    reply_to=41,
    forwarded_from=FORWARDED,
    attachments=(ATTACHMENT,),
    mentions=(BOB,),
    data={"target": 3},
)
SEND = payloads.SendMessage(
    id=ID,
    body="Grüße, 世界 👋",
    kind="note",
    to=BOB,
    sent_at=AT,
    reply_to=41,
    forwarded_from=FORWARDED,
    attachments=(ATTACHMENT,),
    mentions=(BOB,),
)
PRESENCE = payloads.PresenceNotice(BOB, "offline", AT)

EXAMPLES: tuple[payloads.Wire, ...] = (
    ATTACHMENT,
    FORWARDED,
    SEND,
    MESSAGE,
    PRESENCE,
    payloads.SendReceipt("read", 3, 9),
    payloads.SendTyping(active=False),
    payloads.DoHeads(ID, after=CONV),
    payloads.DoSync(ID, CONV, after=3, before=9, limit=20),
    payloads.DoWatch(ID, (BOB,)),
    payloads.DeviceState("away", "c1"),
    payloads.Receipt(CONV, BOB, "delivered", 3, 9, AT, 12),
    payloads.Typing(CONV, BOB, active=False),
    payloads.ErrorNotice(ID, "rateLimited", "wait", CONV, 1.5),
    payloads.Head(CONV, 1, 42, 12),
    payloads.HeadsReply(ID, (payloads.Head(CONV, 1, 42, 12),), next=CONV),
    payloads.Mark(BOB, 9, 3),
    payloads.SyncReply(
        ID, CONV, (MESSAGE,), has_more=True, first=1, head=42, marks=(payloads.Mark(BOB, 9, 3),), receipts=12
    ),
    payloads.WatchReply(ID, (PRESENCE,)),
    payloads.Command(ID, "member.add", CONV, ALICE, "s/api/p1/re", AT, Raw(b'{"members":[]}'), PHONE),
    payloads.CommandReply(ID, "notMember", "no", 42, 1.5),
    commands.CreateGroup("Sea", (BOB,), "swimmers", history=False),
    commands.ChangeGroup("Sea", "swimmers", history=False),
    commands.AddMembers((BOB,)),
    commands.RemoveMember(BOB),
    commands.SetRole(BOB, "admin"),
    commands.MarkRead("read", 9),
)
