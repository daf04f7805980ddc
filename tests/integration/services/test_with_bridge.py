"""The API and the bridge together, on SQLite: what is asked by HTTP is carried out by the writer, once."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from bridge.bridge import Bridge
from bridge.owner import Stores, Surroundings
from services.api import make_api
from services.commands import CommandClient
from stores.sql.deadletters import SqlDeadLetters
from stores.sql.directory import SqlDirectory
from stores.sql.lastseen import SqlLastSeen
from tests.integration.services.hub import Hub
from tests.integration.services.stored import Stored
from tests.unit.services.doubles import Person, problem
from tidings.protocol import ids
from tidings.protocol.ids import MessageId


def now() -> int:
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000


class Site(Stored):
    """Stores, a bridge of all lane groups, and the API, joined by a hub."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hub = Hub()
        self.commands = CommandClient(self.hub.link(), "web", now)
        counter = itertools.count()
        self.bridge = Bridge(
            ids.GROUPS,
            Stores(
                writer=self.stored_log,
                reader=self.stored_log,
                directory=SqlDirectory(self.accounts_file),
                deadletters=SqlDeadLetters(self.log_file),
                last_seen=SqlLastSeen(self.log_file),
            ),
            lambda group: self.hub.link(),
            Surroundings(now, lambda: 0.5, lambda: MessageId(f"new-{next(counter)}"), "test"),
        )
        self.deps = replace(self.deps, commands=self.commands, clock=now, registry=CollectorRegistry())
        self.app = make_api(self.deps)

    async def ask(
        self, person: Person, method: str, path: str, body: Any = None, key: str = "", **query: int
    ) -> httpx.Response:
        """Ask as somebody."""
        async with self.http(token=person.token) as http:
            headers = {"Idempotency-Key": key} if key else {}
            return await http.request(method, path, json=body, params=query, headers=headers)

    async def entries(self, person: Person, conv: str) -> list[tuple[int, str, str]]:
        """Tell a member's history: number, kind, body."""
        page = (await self.ask(person, "GET", f"/api/messages/{conv}", after=0)).json()
        return [(one["seq"], one["kind"], one.get("body", "")) for one in page["messages"]]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    whole = Site(tmp_path)
    await whole.start()
    link = asyncio.create_task(whole.commands.run())
    await whole.bridge.start(20)
    yield whole
    await whole.bridge.stop()
    link.cancel()
    with suppress(asyncio.CancelledError):
        await link
    await whole.close()


async def three(site: Site) -> tuple[Person, Person, Person]:
    """Register three people."""
    return (
        await site.person(),
        await site.person("+4915112345679", "Bob"),
        await site.person("+4915112345670", "Carol"),
    )


async def test_a_message_by_http_is_stored_once_and_published(site: Site) -> None:
    alice, bob, _ = await three(site)
    message = {"to": bob.user, "body": "hi", "id": "m-1"}
    first = await site.ask(alice, "POST", "/api/messages", message)
    assert first.status_code == 201, first.text
    again = await site.ask(alice, "POST", "/api/messages", message)
    assert again.json() == first.json()
    conv = ids.direct_conversation(alice.user, bob.user)
    assert first.json()["conv"] == conv
    for person in (alice, bob):
        history = await site.entries(person, conv)
        assert [(kind, body) for _, kind, body in history] == [("direct.created", ""), ("text", "hi")]
    published = [one.topic for one in site.hub.heard if one.topic.endswith("/in/msg")]
    assert f"u/{bob.user}/in/msg" in published
    other = await site.ask(alice, "POST", "/api/messages", {**message, "body": "other"})
    problem(other, 409, "idReused")


async def test_a_message_to_nobody_is_refused(site: Site) -> None:
    alice = await site.person()
    nobody = ids.make_user_id(b"nobody at all")
    problem(await site.ask(alice, "POST", "/api/messages", {"to": nobody, "body": "hi"}), 404, "unknownRecipient")


async def test_a_group_lives_by_http(site: Site) -> None:
    alice, bob, carol = await three(site)
    body = {"name": "Walkers", "members": [bob.user]}
    made = [await site.ask(alice, "POST", "/api/groups", body, key="g") for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    conv = made[0].json()["conv"]
    sent = await site.ask(bob, "POST", "/api/messages", {"conv": conv, "body": "hello"})
    assert sent.status_code == 201, sent.text
    problem(await site.ask(carol, "POST", "/api/messages", {"conv": conv, "body": "hello"}), 404, "unknownConversation")
    problem(await site.ask(bob, "POST", f"/api/groups/{conv}/members", {"members": [carol.user]}), 403, "notAllowed")
    assert (await site.ask(alice, "POST", f"/api/groups/{conv}/members", {"members": [carol.user]})).status_code == 200
    assert ("text", "hello") in [(kind, text) for _, kind, text in await site.entries(carol, conv)]
    assert (await site.ask(alice, "PUT", f"/api/groups/{conv}", {"name": "Runners"})).status_code == 200
    assert (await site.ask(carol, "GET", f"/api/conversations/{conv}")).json()["name"] == "Runners"
    role = f"/api/groups/{conv}/members/{bob.user}/role"
    assert (await site.ask(alice, "PUT", role, {"role": "admin"})).status_code == 200
    assert (await site.ask(bob, "DELETE", f"/api/groups/{conv}/members/{carol.user}")).status_code == 200
    await site.ask(bob, "POST", "/api/messages", {"conv": conv, "body": "she is gone"})
    assert "she is gone" not in [text for _, _, text in await site.entries(carol, conv)]
    assert "she is gone" in [text for _, _, text in await site.entries(alice, conv)]


async def test_receipts_by_http_show_in_info(site: Site) -> None:
    alice, bob, _ = await three(site)
    sent = (await site.ask(alice, "POST", "/api/messages", {"to": bob.user, "body": "hi"})).json()
    path = f"/api/messages/{sent['conv']}"
    done = await site.ask(bob, "POST", f"{path}/receipts", {"kind": "read", "to": sent["seq"]})
    assert done.status_code == 200, done.text
    [told] = (await site.ask(alice, "GET", f"{path}/{sent['seq']}/info")).json()["members"]
    assert told["user"] == bob.user
    assert told["readAt"] >= told["deliveredAt"] > 0


async def test_a_blocked_senders_message_is_a_tombstone(site: Site) -> None:
    alice, bob, _ = await three(site)
    assert (await site.ask(bob, "POST", f"/api/blocks/{alice.user}")).status_code == 204
    sent = (await site.ask(alice, "POST", "/api/messages", {"to": bob.user, "body": "hi"})).json()
    assert [kind for _, kind, _ in await site.entries(alice, sent["conv"])][-1] == "text"
    assert [kind for _, kind, _ in await site.entries(bob, sent["conv"])][-1] == "tombstone"


async def test_a_hundred_messages_a_minute(site: Site) -> None:
    """A little more, since the allowance grows back while they are sent."""
    alice, bob, _ = await three(site)
    for number in range(200):
        answer = await site.ask(alice, "POST", "/api/messages", {"to": bob.user, "body": str(number)})
        if answer.status_code != 201:
            break
    assert number >= 100
    assert problem(answer, 429, "rateLimited")["retryAfter"] > 0
    assert int(answer.headers["retry-after"]) >= 1
