"""What is asked of the writer: the order it gets, and what is refused before it is asked."""

from typing import Any

import httpx
import pytest

from services.commands import Order
from tests.unit.services.doubles import Person, World, problem
from tidings.protocol import commands, ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import MessageId
from tidings.protocol.payloads import SendMessage


class Desk:
    """Alice at her desk, and somebody to write to."""

    def __init__(self, world: World, alice: Person) -> None:
        self.world, self.alice = world, alice
        self.bob = ids.make_user_id(bytes(range(11, 22)))
        self.direct = ids.direct_conversation(alice.user, self.bob)
        self.group = ids.group_conversation(alice.user, MessageId("g"))

    async def ask(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        async with self.world.http(token=self.alice.token) as http:
            return await http.request(method, path, json=body, headers=headers)

    @property
    def order(self) -> Order:
        return self.world.writer.orders[-1]


@pytest.fixture
async def desk() -> Desk:
    world = World()
    return Desk(world, await world.person())


async def test_a_message_to_a_user(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/messages", {"to": desk.bob, "body": "hi", "id": "m-1", "unknown": 1})
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"conv": desk.direct, "seq": 1, "id": "m-1"}
    assert (desk.order.verb, desk.order.conv) == ("message.send", desk.direct)
    assert (desk.order.user, desk.order.device) == (desk.alice.user, desk.alice.device)
    assert desk.order.args == SendMessage(MessageId("m-1"), "hi", to=desk.bob)


async def test_a_message_with_everything(desk: Desk) -> None:
    attachment = {"media": "x", "type": "image/png", "size": 3, "sha256": "0" * 64, "thumbnail": "AAAA", "width": 5}
    body = {
        "conv": desk.group,
        "kind": "note",
        "body": "hi",
        "sentAt": 5,
        "replyTo": 2,
        "forwardedFrom": {"conv": desk.direct, "seq": 3},
        "attachments": [attachment],
        "mentions": [desk.bob],
    }
    answer = await desk.ask("POST", "/api/messages", body, key="key-1")
    assert answer.status_code == 201, answer.text
    said = desk.order.args
    assert isinstance(said, SendMessage)
    assert (said.id, said.kind, said.sent_at, said.reply_to, said.mentions) == ("key-1", "note", 5, 2, (desk.bob,))
    assert said.attachments[0].thumbnail == b"\0\0\0"
    assert said.forwarded_from is not None
    assert said.forwarded_from.seq == 3


async def test_a_key_makes_a_retry_the_same_command(desk: Desk) -> None:
    body = {"to": desk.bob, "body": "hi"}
    for _ in range(2):
        await desk.ask("POST", "/api/messages", body, key="any form: of key?")
    first, second = desk.world.writer.orders
    assert first == second
    await desk.ask("POST", "/api/messages", body, key="another")
    await desk.ask("POST", "/api/messages", body)
    await desk.ask("POST", "/api/messages", body)
    assert len({order.id for order in desk.world.writer.orders}) == 4, "without a key every request is its own"


async def test_two_users_may_use_the_same_key(desk: Desk) -> None:
    other = Desk(desk.world, await desk.world.person("+4915112345679", "Carol"))
    for one in (desk, other):
        await one.ask("POST", "/api/groups", {"name": "a"}, key="1")
    first, second = desk.world.writer.orders
    assert first.id != second.id
    assert first.conv != second.conv


async def test_a_key_of_another_verb_or_conversation_is_another_command(desk: Desk) -> None:
    for conv in (desk.direct, desk.group):
        await desk.ask("POST", f"/api/messages/{conv}/receipts", {"kind": "read", "to": 3}, key="1")
    await desk.ask("POST", f"/api/groups/{desk.group}/members", {"members": [desk.bob]}, key="1")
    assert len({order.id for order in desk.world.writer.orders}) == 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"body": "hi"}, 422, "badValue"),
        ({"to": "x", "body": "hi"}, 400, "badId"),
        ({"conv": "x", "body": "hi"}, 400, "badId"),
        ({"to": "BOB", "conv": "GROUP", "body": "hi"}, 422, "badValue"),
        ({"to": "BOB"}, 422, "badValue"),
        ({"to": "BOB", "body": "a" * 65_537}, 413, "tooLarge"),
        ({"to": "BOB", "body": "a", "id": "not an id"}, 400, "badId"),
        ({"to": "BOB", "body": "a", "kind": "member.added"}, 422, "badValue"),
        ({"to": "BOB", "body": "a", "kind": "tombstone"}, 422, "badValue"),
        ({"to": "BOB", "body": "a", "replyTo": -1}, 422, "badValue"),
        ({"to": "BOB", "body": "a", "attachments": [{"media": 5}]}, 422, "badValue"),
        ({"to": "BOB", "body": 5}, 422, "badValue"),
        ([], 422, "badValue"),
    ],
)
async def test_a_bad_message_is_refused_before_the_writer_is_asked(
    desk: Desk, body: Any, status: int, code: str
) -> None:
    names = {"BOB": desk.bob, "GROUP": desk.group}
    if isinstance(body, dict):
        body = {key: names.get(value, value) if isinstance(value, str) else value for key, value in body.items()}
    problem(await desk.ask("POST", "/api/messages", body), status, code)
    assert not desk.world.writer.orders


async def test_a_text_of_64_kib_fits(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/messages", {"to": desk.bob, "body": "a" * 65_536})
    assert answer.status_code == 201


async def test_a_conversation_of_another_cell_is_refused(desk: Desk) -> None:
    problem(await desk.ask("POST", "/api/messages", {"conv": "01" + desk.group[2:], "body": "a"}), 421, "wrongCell")


@pytest.mark.parametrize("code", [Code.NOT_MEMBER, Code.ID_REUSED, Code.RATE_LIMITED, Code.TIMED_OUT, Code.UNAVAILABLE])
async def test_the_writers_refusal_is_the_answer(desk: Desk, code: Code) -> None:
    desk.world.writer.refusal = Refusal(code, "so it is", retry_after=2.5 if code is Code.RATE_LIMITED else 0)
    answer = await desk.ask("POST", "/api/messages", {"to": desk.bob, "body": "hi"})
    body = problem(answer, Refusal(code).kind.status, code)
    assert body["detail"] == "so it is"
    assert answer.headers.get("retry-after") == ("3" if code is Code.RATE_LIMITED else None)


async def test_a_group_is_created_under_an_id_that_a_retry_finds_again(desk: Desk) -> None:
    body = {"name": " Walkers ", "members": [desk.bob, desk.bob], "description": "on\nSundays", "history": False}
    answers = [await desk.ask("POST", "/api/groups", body, key="g1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, second = desk.world.writer.orders
    assert first == second
    assert first.args == commands.CreateGroup("Walkers", (desk.bob,), "on\nSundays", history=False)
    assert answers[0].json() == {"conv": first.conv, "seq": 1}
    assert first.conv == ids.group_conversation(desk.alice.user, first.id)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a" * 256},
        {"name": "a\tb"},
        {"name": "a", "members": ["x"]},
        {"name": "a", "members": 7},
        {"name": "a", "description": "a" * 2_049},
        {"name": "a", "description": "a\n" * 1_025},
        {"name": "a", "description": "\0"},
        {"name": "a", "members": ["0000u0000000000000000"] * 1_025},
    ],
)
async def test_a_bad_group_is_refused(desk: Desk, body: dict[str, object]) -> None:
    answer = await desk.ask("POST", "/api/groups", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("badValue", "badId")
    assert not desk.world.writer.orders


async def test_names_and_descriptions_at_their_limits_fit(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/groups", {"name": "a" * 255, "description": "a" * 2_048})
    assert answer.status_code == 201


async def test_a_group_is_changed(desk: Desk) -> None:
    answer = await desk.ask("PUT", f"/api/groups/{desk.group}", {"description": ""})
    assert answer.json() == {"conv": desk.group, "seq": 1}
    assert desk.order.args == commands.ChangeGroup(description="")
    problem(await desk.ask("PUT", f"/api/groups/{desk.group}", {}), 422, "badValue")


async def test_members_come_and_go(desk: Desk) -> None:
    path = f"/api/groups/{desk.group}/members"
    assert (await desk.ask("POST", path, {"members": [desk.bob]})).status_code == 200
    assert (desk.order.verb, desk.order.args) == ("member.add", commands.AddMembers((desk.bob,)))
    assert (await desk.ask("PUT", f"{path}/{desk.bob}/role", {"role": "admin"})).status_code == 200
    assert (desk.order.verb, desk.order.args) == ("member.role", commands.SetRole(desk.bob, "admin"))
    assert (await desk.ask("DELETE", f"{path}/{desk.bob}")).status_code == 200
    assert (desk.order.verb, desk.order.args) == ("member.remove", commands.RemoveMember(desk.bob))
    problem(await desk.ask("POST", path, {"members": []}), 422, "badValue")
    problem(await desk.ask("PUT", f"{path}/{desk.bob}/role", {"role": "king"}), 422, "badValue")
    problem(await desk.ask("DELETE", f"{path}/nobody"), 400, "badId")


async def test_receipts(desk: Desk) -> None:
    path = f"/api/messages/{desk.direct}/receipts"
    assert (await desk.ask("POST", path, {"kind": "read", "to": 3})).status_code == 200
    assert (desk.order.verb, desk.order.args) == ("receipt", commands.MarkRead("read", 3))
    problem(await desk.ask("POST", path, {"kind": "eaten", "to": 3}), 422, "badValue")
    problem(await desk.ask("POST", path, {"kind": "read", "to": 0}), 422, "badValue")


@pytest.mark.parametrize(("length", "status"), [(1, 201), (255, 201), (256, 422)])
async def test_a_key_has_1_to_255_characters(desk: Desk, length: int, status: int) -> None:
    answer = await desk.ask("POST", "/api/messages", {"to": desk.bob, "body": "hi"}, key="k" * length)
    assert answer.status_code == status


async def test_every_verb_of_the_protocol_has_a_door(desk: Desk) -> None:
    group = f"/api/groups/{desk.group}"
    await desk.ask("POST", "/api/messages", {"to": desk.bob, "body": "a"})
    await desk.ask("POST", f"/api/messages/{desk.direct}/receipts", {"kind": "read", "to": 3})
    await desk.ask("POST", "/api/groups", {"name": "a"})
    await desk.ask("PUT", group, {"name": "b"})
    await desk.ask("POST", f"{group}/members", {"members": [desk.bob]})
    await desk.ask("PUT", f"{group}/members/{desk.bob}/role", {"role": "admin"})
    await desk.ask("DELETE", f"{group}/members/{desk.bob}")
    assert {order.verb for order in desk.world.writer.orders} == set(commands.COMMANDS)
    assert all(isinstance(order.args, commands.COMMANDS[order.verb]) for order in desk.world.writer.orders)


async def test_blocking(desk: Desk) -> None:
    bob = await desk.world.person("+4915112345679", "Bob")
    for _ in range(2):
        assert (await desk.ask("POST", f"/api/blocks/{bob.user}")).status_code == 204
    assert (await desk.ask("GET", "/api/blocks")).json() == {"users": [bob.user]}
    for _ in range(2):
        assert (await desk.ask("DELETE", f"/api/blocks/{bob.user}")).status_code == 204
    assert (await desk.ask("GET", "/api/blocks")).json() == {"users": []}
    problem(await desk.ask("POST", f"/api/blocks/{desk.alice.user}"), 422, "badValue")
    problem(await desk.ask("POST", f"/api/blocks/{desk.bob}"), 404, "unknownRecipient")
    problem(await desk.ask("POST", "/api/blocks/x"), 400, "badId")
