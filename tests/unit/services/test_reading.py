"""History, lists, receipts and heads: what a member sees, and what nobody else does."""

import itertools
from typing import Any

import pytest

from tests.unit.services.doubles import Person, World, problem
from tidings.protocol import ids
from tidings.protocol.ids import MessageId

CAROL = ids.make_user_id(bytes(range(30, 41)))


class Talk:
    """Alice and Bob in a direct conversation of ten messages."""

    def __init__(self, world: World, alice: Person, bob: Person) -> None:
        self.world, self.alice, self.bob = world, alice, bob
        self.conv = ids.direct_conversation(alice.user, bob.user)
        world.log.begin(self.conv, alice.user, bob.user)
        for number in range(10):
            world.log.say(self.conv, alice.user, f"number {number + 1}")

    async def get(self, path: str, person: Person | None = None, **query: object) -> dict[str, Any]:
        """Get as somebody (Alice), successfully."""
        async with self.world.http(token=(person or self.alice).token) as http:
            answer = await http.get(path, params=query)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def seqs(self, person: Person | None = None, **query: object) -> list[int]:
        """Tell which numbers a page of history answers."""
        return [one["seq"] for one in (await self.get(f"/api/messages/{self.conv}", person, **query))["messages"]]


@pytest.fixture
async def talk() -> Talk:
    world = World()
    return Talk(world, await world.person(), await world.person("+4915112345679", "Bob"))


async def test_the_newest_come_first_asked_and_pages_join(talk: Talk) -> None:
    page = await talk.get(f"/api/messages/{talk.conv}", limit=4)
    assert [one["seq"] for one in page["messages"]] == [7, 8, 9, 10]
    assert (page["hasMore"], page["nextCursor"], page["first"], page["head"]) == (True, 7, 1, 10)
    page = await talk.get(f"/api/messages/{talk.conv}", limit=4, before=7)
    assert [one["seq"] for one in page["messages"]] == [3, 4, 5, 6]
    page = await talk.get(f"/api/messages/{talk.conv}", limit=4, before=3)
    assert [one["seq"] for one in page["messages"]] == [1, 2]
    assert (page["hasMore"], page["nextCursor"]) == (False, 0)


async def test_after_goes_forward(talk: Talk) -> None:
    page = await talk.get(f"/api/messages/{talk.conv}", limit=4, after=3)
    assert [one["seq"] for one in page["messages"]] == [4, 5, 6, 7]
    assert (page["hasMore"], page["nextCursor"]) == (True, 7)
    assert await talk.seqs(after=7, limit=4) == [8, 9, 10]
    assert await talk.seqs(after=10) == []
    assert await talk.seqs(after=2, before=5) == [3, 4]
    assert await talk.seqs(after=5, before=5) == []


async def test_an_entry_goes_out_as_it_was_stored(talk: Talk) -> None:
    page = await talk.get(f"/api/messages/{talk.conv}", talk.bob, limit=1)
    entry = page["messages"][0]
    assert entry["from"] == talk.alice.user
    assert entry["body"] == "number 10"
    assert entry["id"] == "m10"


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"before": -1}, {"after": -2}, {"after": 2**60}]
)
async def test_pages_have_limits(talk: Talk, query: dict[str, object]) -> None:
    async with talk.world.http(token=talk.alice.token) as http:
        body = problem(await http.get(f"/api/messages/{talk.conv}", params=query), 422, "badValue")  # type: ignore[arg-type]
    assert next(iter(query)) in body["detail"]


async def test_fifty_unless_asked_and_two_hundred_at_most(talk: Talk) -> None:
    for _ in range(240):
        talk.world.log.say(talk.conv, talk.bob.user)
    assert len(await talk.seqs()) == 50
    assert len(await talk.seqs(limit=200)) == 200


async def test_what_is_hidden_or_outside_is_a_tombstone(talk: Talk) -> None:
    talk.world.log.say(talk.conv, talk.bob.user, "secret", hidden=(talk.alice.user,))
    talk.world.log.say(talk.conv, talk.bob.user, "gone", kind="tombstone")
    talk.world.log.window(talk.conv, talk.alice.user, (2, 3), (6, 0))
    page = await talk.get(f"/api/messages/{talk.conv}")
    assert (page["first"], page["head"]) == (2, 12)
    assert [one["seq"] for one in page["messages"]] == list(range(2, 13))
    tombs = [one["seq"] for one in page["messages"] if one.get("kind") == "tombstone"]
    assert tombs == [4, 5, 11, 12]
    assert all(set(one) == {"conv", "seq", "kind"} for one in page["messages"] if one.get("kind") == "tombstone")


async def test_who_left_sees_nothing_later(talk: Talk) -> None:
    talk.world.log.window(talk.conv, talk.bob.user, (3, 5))
    page = await talk.get(f"/api/messages/{talk.conv}", talk.bob)
    assert [one["seq"] for one in page["messages"]] == [3, 4, 5]
    assert (page["first"], page["head"]) == (3, 5)
    assert await talk.seqs(talk.bob, after=5) == []
    talk.world.log.move(talk.conv, talk.alice.user, "read", 0, 5)
    shown = await talk.get(f"/api/conversations/{talk.conv}", talk.bob)
    assert (shown["active"], shown["members"], shown["last"]["seq"]) == (False, [], 5)
    [head] = (await talk.get("/api/sync", talk.bob))["heads"]
    page = await talk.get(f"/api/messages/{talk.conv}", talk.bob)
    assert [told["receipts"] for told in (shown, head, page)] == [0, 0, 0], "others' reading is told no more"


async def test_a_missing_row_is_answered_and_counted(talk: Talk) -> None:
    del talk.world.log.log[talk.conv][4]
    assert await talk.seqs() == list(range(1, 11))
    assert talk.world.deps.registry.get_sample_value("tidings_services_missing_rows_total") == 1


@pytest.mark.parametrize("path", ["/api/messages/{}", "/api/conversations/{}", "/api/messages/{}/1/info"])
async def test_a_stranger_learns_nothing_not_even_that_it_exists(talk: Talk, path: str) -> None:
    carol = await talk.world.person("+4915112345670", "Carol")
    unknown = ids.direct_conversation(talk.alice.user, carol.user)
    async with talk.world.http(token=carol.token) as http:
        answers = [
            problem(await http.get(path.format(conv)), 404, "unknownConversation") for conv in (talk.conv, unknown)
        ]
        problem(await http.get(path.format("nonsense")), 400, "badId")
    for body in answers:
        del body["instance"]
    assert answers[0] == answers[1]


async def test_info_tells_who_received_and_read_when(talk: Talk) -> None:
    talk.world.log.move(talk.conv, talk.bob.user, "delivered", 0, 10)
    talk.world.log.move(talk.conv, talk.bob.user, "read", 0, 4)
    info = await talk.get(f"/api/messages/{talk.conv}/4/info")
    [bob] = info["members"]
    assert (bob["user"], bob["deliveredAt"] > 0, bob["readAt"] > bob["deliveredAt"]) == (talk.bob.user, True, True)
    [bob] = (await talk.get(f"/api/messages/{talk.conv}/5/info"))["members"]
    assert (bob["deliveredAt"] > 0, bob["readAt"]) == (True, 0)


async def test_info_keeps_hidden_reads_to_itself(talk: Talk) -> None:
    talk.world.log.move(talk.conv, talk.bob.user, "delivered", 0, 10)
    talk.world.log.move(talk.conv, talk.bob.user, "read", 0, 4, shown=False)
    [bob] = (await talk.get(f"/api/messages/{talk.conv}/4/info"))["members"]
    assert bob["readAt"] == 0
    hidden = talk.world.log.say(talk.conv, talk.alice.user, hidden=(talk.bob.user,))
    [bob] = (await talk.get(f"/api/messages/{talk.conv}/{hidden}/info"))["members"]
    assert bob == {"user": talk.bob.user, "deliveredAt": 0, "readAt": 0}, "a block looks like a phone that is off"
    async with talk.world.http(token=talk.bob.token) as http:
        problem(await http.get(f"/api/messages/{talk.conv}/{hidden}/info"), 404, "notFound")
        problem(await http.get(f"/api/messages/{talk.conv}/99/info"), 404, "notFound")
        problem(await http.get(f"/api/messages/{talk.conv}/0/info"), 422, "badValue")


async def test_a_mark_steps_over_the_time_a_member_was_away(talk: Talk) -> None:
    talk.world.log.window(talk.conv, talk.bob.user, (1, 4), (8, 0))
    for low, high, shown in [(0, 4, True), (7, 9, False)]:
        talk.world.log.move(talk.conv, talk.bob.user, "read", low, high, shown=shown)
    [mark] = (await talk.get(f"/api/messages/{talk.conv}"))["marks"]
    assert mark == {"user": talk.bob.user, "delivered": 4, "read": 4}


async def test_marks_are_told_up_to_the_last_shown_move(talk: Talk) -> None:
    moves = [("delivered", 0, 10, True), ("read", 0, 3, True), ("read", 3, 5, False), ("read", 5, 8, False)]
    for kind, low, high, shown in moves:
        talk.world.log.move(talk.conv, talk.bob.user, kind, low, high, shown=shown)
    [mark] = (await talk.get(f"/api/messages/{talk.conv}"))["marks"]
    assert mark == {"user": talk.bob.user, "delivered": 10, "read": 3}
    [own] = (await talk.get(f"/api/messages/{talk.conv}", talk.bob))["marks"]
    assert own["read"] == 8, "one's own mark is told as it is"


async def test_conversations_are_listed_with_last_entry_and_unread_messages(talk: Talk) -> None:
    talk.world.log.say(talk.conv, talk.alice.user, kind="group.changed")
    talk.world.log.say(talk.conv, talk.alice.user, hidden=(talk.bob.user,))
    talk.world.log.say(talk.conv, talk.bob.user)
    talk.world.log.move(talk.conv, talk.bob.user, "read", 0, 7)
    [shown] = (await talk.get("/api/conversations", talk.bob))["conversations"]
    assert shown["unread"] == 3, "three messages: an event, a hidden one and one's own do not count"
    assert shown["last"]["seq"] == shown["head"] == 13
    assert {one["user"] for one in shown["members"]} == {talk.alice.user, talk.bob.user}
    assert (shown["kind"], shown["active"], shown["role"]) == ("d", True, "member")


async def test_lists_and_heads_are_paged(talk: Talk) -> None:
    for number in range(6):
        conv = ids.group_conversation(talk.alice.user, MessageId(str(number)))
        talk.world.log.begin(conv, talk.alice.user, name=f"group {number}")
        talk.world.log.say(conv, talk.alice.user)
    for path, field, cursor, next_ in (
        ("/api/conversations", "conversations", "nextCursor", lambda page: page["nextCursor"]),
        ("/api/sync", "heads", "next", lambda page: page["next"]),
    ):
        found, after = [], ""
        for _ in itertools.count():
            page = await talk.get(path, after=after, limit=3)
            found += [one["conv"] for one in page[field]]
            assert cursor in page
            if not (after := next_(page)):
                break
        assert found == sorted(found)
        assert len(found) == 7


async def test_sync_tells_where_conversations_stand(talk: Talk) -> None:
    talk.world.log.move(talk.conv, talk.bob.user, "delivered", 0, 10)
    talk.world.log.window(talk.conv, talk.bob.user, (3, 0))
    assert (await talk.get("/api/sync", talk.bob)) == {
        "heads": [{"conv": talk.conv, "first": 3, "seq": 10, "receipts": 1}],
        "next": "",
    }
    carol = await talk.world.person("+4915112345670", "Carol")
    assert (await talk.get("/api/sync", carol)) == {"heads": [], "next": ""}


async def test_a_store_that_is_away_is_told_as_such(talk: Talk) -> None:
    talk.world.log.away = True
    async with talk.world.http(token=talk.alice.token) as http:
        answer = await http.get("/api/sync")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_page_of_long_messages_is_cut_by_bytes(talk: Talk) -> None:
    for _ in range(40):
        talk.world.log.say(talk.conv, talk.bob.user, "x" * 65_536)
    for step in ({"after": 10}, {"before": 51}):
        page = await talk.get(f"/api/messages/{talk.conv}", limit=40, **step)
        seqs = [one["seq"] for one in page["messages"]]
        assert len(seqs) == 31
        assert page["hasMore"]
        assert page["nextCursor"] == (41 if "after" in step else 20)
        assert seqs == (list(range(11, 42)) if "after" in step else list(range(20, 51)))
