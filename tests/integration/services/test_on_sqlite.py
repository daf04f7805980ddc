"""The API on the real stores: accounts, logins, revocation and history in SQLite files."""

import asyncio
from pathlib import Path

from stores.ports.entries import Conversation, JournalEntry, MarkMove, Member, Row, Window
from tests.integration.services.stored import Stored
from tests.unit.services.doubles import NOW, Person, World, problem
from tidings.protocol import codec, ids
from tidings.protocol.ids import DeviceId, Group, MessageId
from tidings.protocol.payloads import Message

BOB_PHONE = "+4915112345679"


async def refresh(world: World, token: str) -> tuple[int, str]:
    async with world.http() as http:
        answer = await http.post("/api/auth/refresh", json={"refreshToken": token})
    return answer.status_code, answer.json().get("refreshToken", "")


async def test_accounts_outlive_the_process(world: Stored, tmp_path: Path) -> None:
    alice = await world.person()
    await world.accounts_file.close()
    again = Stored(tmp_path)
    again.numbers = world.numbers
    await again.start()
    try:
        assert (await again.person()).user == alice.user
        status, _ = await refresh(again, alice.refresh)
        assert status == 200
    finally:
        await again.close()


async def test_reuse_of_a_refresh_token_ends_the_family(world: Stored) -> None:
    alice = await world.person()
    status, second = await refresh(world, alice.refresh)
    assert status == 200
    assert (await refresh(world, alice.refresh))[0] == 401
    assert (await refresh(world, second))[0] == 401


async def test_of_two_who_refresh_at_once_one_at_most_succeeds_and_the_login_ends(world: Stored) -> None:
    alice = await world.person()
    answers = await asyncio.gather(*(refresh(world, alice.refresh) for _ in range(5)))
    assert sum(status == 200 for status, _ in answers) <= 1
    for status, token in answers:
        assert status in (200, 401)
        assert not token or (await refresh(world, token))[0] == 401


async def test_limits_hold_on_the_store(world: Stored) -> None:
    ask = {"phoneNumber": BOB_PHONE, "name": "Bob"}
    async with world.http() as http:
        answers = await asyncio.gather(*(http.post("/api/auth/register", json=ask) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429]
        world.now += 3_600_000
        assert (await http.post("/api/auth/register", json=ask)).status_code == 200


async def test_a_code_has_three_tries_on_the_store(world: Stored) -> None:
    async with world.http() as http:
        asked = await http.post("/api/auth/register", json={"phoneNumber": BOB_PHONE, "name": "Bob"})
        proof = {"verificationId": asked.json()["verificationId"], "code": "x"}
        for _ in range(3):
            problem(await http.post("/api/auth/verify-otp", json=proof), 401, "wrongCode")
        proof["code"] = world.phones.code()
        problem(await http.post("/api/auth/verify-otp", json=proof), 410, "codeExpired")


async def test_a_logout_is_a_revocation_for_everybody(world: Stored) -> None:
    alice = await world.person()
    await world.revocations.refresh(world.policy)
    async with world.http(token=alice.token) as http:
        assert (await http.post("/api/auth/logout")).status_code == 204
        assert await world.revocations.refresh(world.policy)
        problem(await http.get("/api/sync"), 401, "unauthenticated")
    assert world.revocations.gone == {f"{alice.user}:{alice.device}"}
    assert (await refresh(world, alice.refresh))[0] == 401


async def test_blocks_are_kept(world: Stored) -> None:
    alice, bob = await world.person(), await world.person(BOB_PHONE, "Bob")
    async with world.http(token=alice.token) as http:
        assert (await http.post(f"/api/blocks/{bob.user}")).status_code == 204
        assert (await http.get("/api/blocks")).json() == {"users": [bob.user]}
    version = await world.policy.version()
    async with world.http(token=alice.token) as http:
        assert (await http.delete(f"/api/blocks/{bob.user}")).status_code == 204
        assert (await http.get("/api/blocks")).json() == {"users": []}
    assert await world.policy.version() > version, "a bridge notices"


async def commit_talk(world: Stored, alice: Person, bob: Person) -> str:
    """Commit a direct conversation of five messages, the third hidden from Bob, of which Bob has read two."""
    conv = ids.direct_conversation(alice.user, bob.user)
    group = Group(conv[2])
    rows = []
    for seq in range(1, 6):
        said = Message(conv, seq, MessageId(f"m{seq}"), alice.user, at=NOW + seq, body=f"number {seq}")
        hidden = (bob.user,) if seq == 3 else ()
        rows.append(
            Row(conv, seq, said.id, alice.user, DeviceId("d"), said.at, "text", codec.encode(said), b"d" * 16, hidden)
        )
    opened = await world.stored_log.open(group, "test", NOW)
    await world.stored_log.commit(
        JournalEntry(
            group,
            opened.next_n,
            opened.epoch,
            NOW,
            rows=tuple(rows),
            members=tuple(Member(conv, user, "member", (Window(1),)) for user in (alice.user, bob.user)),
            marks=(MarkMove(conv, bob.user, "read", 0, 2, NOW + 9, 1),),
            conversations=(Conversation(conv, "d", 5, 1, created_at=NOW, created_by=alice.user),),
        )
    )
    return conv


async def test_history_lists_heads_and_info_from_the_log(world: Stored) -> None:
    alice, bob = await world.person(), await world.person(BOB_PHONE, "Bob")
    conv = await commit_talk(world, alice, bob)
    async with world.http(token=bob.token) as http:
        page = (await http.get(f"/api/messages/{conv}", params={"after": 1})).json()
        assert [(one["seq"], one["kind"]) for one in page["messages"]] == [
            (2, "text"),
            (3, "tombstone"),
            (4, "text"),
            (5, "text"),
        ]
        [listed] = (await http.get("/api/conversations")).json()["conversations"]
        assert (listed["unread"], listed["last"]["body"], listed["head"]) == (2, "number 5", 5)
        heads = (await http.get("/api/sync")).json()["heads"]
        assert heads == [{"conv": conv, "first": 1, "seq": 5, "receipts": 1}]
    async with world.http(token=alice.token) as http:
        info = (await http.get(f"/api/messages/{conv}/2/info")).json()
        assert info["members"] == [{"user": bob.user, "deliveredAt": NOW + 9, "readAt": NOW + 9}]
        page = (await http.get(f"/api/messages/{conv}")).json()
        assert page["marks"] == [{"user": bob.user, "delivered": 2, "read": 2}]
        problem(await http.get(f"/api/conversations/{ids.self_conversation(alice.user)}"), 404, "unknownConversation")


async def test_ready_while_the_stores_are(world: Stored) -> None:
    async with world.http() as http:
        assert (await http.get("/readyz")).status_code == 200
