"""People for end-to-end tests: they register by HTTP, find the code in the development inbox, and use a stock client.

The client is aiomqtt, which knows nothing of Tidings: what these tests show, any MQTT client has.
"""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import httpx

from app.cast import read_code
from tests.processes import TidingsUp
from tidings.protocol import ids

PHONES = itertools.count(4_915_110_000_000)


@dataclass
class Person:
    """One device of one user, as the login answer described it."""

    name: str
    phone: str
    user: str
    device: str
    token: str
    refresh: str
    mqtt: dict[str, Any]
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def conversation_with(self, other: "Person") -> str:
        """The direct conversation's id."""
        return ids.direct_conversation(ids.user_id(self.user), ids.user_id(other.user))

    def out(self, conv: str, verb: str = "msg") -> str:
        """The topic to say something in a conversation."""
        return f"u/{self.user}/{self.device}/out/{conv[2:4]}/{conv}/{verb}"


async def register(server: TidingsUp, name: str, *, phone: str = "", device: str = "test") -> Person:
    """Register, or log in another device of `phone`, through the public API."""
    phone = phone or f"+{next(PHONES)}"
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
        answer = await http.post("/api/auth/register", json={"phoneNumber": phone, "name": name})
        assert answer.status_code == 200, answer.text
        code = read_code(server.data, phone)
        proof = {"verificationId": answer.json()["verificationId"], "code": code, "deviceName": device}
        answer = await http.post("/api/auth/verify-otp", json=proof)
        assert answer.status_code == 200, answer.text
    login = answer.json()
    user, own_device = login["mqtt"]["clientId"].split(":")
    return Person(name, phone, user, own_device, login["token"], login["refreshToken"], login["mqtt"])


@asynccontextmanager
async def connected(server: TidingsUp, person: Person, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    """A stock client, connected and subscribed with a persistent session."""
    client = aiomqtt.Client(
        "127.0.0.1",
        server.ports["mqtt"],
        identifier=person.mqtt["clientId"],
        username=person.mqtt["username"],
        password=person.token,
        clean_session=False,
        timeout=10,
        **options,
    )
    async with client:
        await client.subscribe([(topic, 1) for topic in person.mqtt["topics"]["subscribe"]])
        yield client


async def next_on(client: aiomqtt.Client, ending: str, *, within: float = 10.0) -> dict[str, Any]:
    """Wait for the next message whose topic ends so; returns its JSON."""
    async with asyncio.timeout(within):
        async for message in client.messages:
            if str(message.topic).endswith(ending):
                found: dict[str, Any] = json.loads(message.payload)  # type: ignore[arg-type]
                return found
    raise AssertionError("the client ended")


class Sender:
    """A person that keeps an outbox: what was not seen to come back is sent again, under the same id.

    `acknowledged` maps the message's id to the seq it came back with.
    """

    def __init__(self, server: TidingsUp, person: Person, conv: str, to: str) -> None:
        self.server, self.person, self.conv, self.to = server, person, conv, to
        self.waiting: dict[str, str] = {}
        self.acknowledged: dict[str, int] = {}
        self.conflicts: list[str] = []
        self.refused: list[dict[str, Any]] = []
        self._back: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Send one message after the other until `stop`, through every cut; then wait for what is unanswered."""
        numbers = itertools.count(1)
        while not stop.is_set() or self.waiting:
            try:
                async with connected(self.server, self.person) as client, asyncio.TaskGroup() as group:
                    listening = group.create_task(self._listen(client))
                    try:
                        await self._talk(client, stop, numbers)
                    finally:
                        listening.cancel()
            except* (aiomqtt.MqttError, TimeoutError, OSError):
                pass  # cut: connect again, and say again what was not answered
            await asyncio.sleep(0.05)

    async def _talk(self, client: aiomqtt.Client, stop: asyncio.Event, numbers: "itertools.count[int]") -> None:
        while not stop.is_set() or self.waiting:
            if not self.waiting:
                number = next(numbers)
                self.waiting[f"{self.person.name}-{number}"] = f"message {number} of {self.person.name}"
            message_id, body = next(iter(self.waiting.items()))
            payload = json.dumps({"id": message_id, "body": body, "to": self.to})
            await client.publish(self.person.out(self.conv), payload, qos=1, timeout=5)
            async with asyncio.timeout(5):
                await self._back[message_id].wait()

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            entry = json.loads(message.payload)  # type: ignore[arg-type]
            if str(message.topic).endswith("/in/error"):
                self.refused.append(entry)
            if str(message.topic).endswith("/in/msg") and entry.get("device") == self.person.device:
                self._came_back(entry)

    def _came_back(self, entry: dict[str, Any]) -> None:
        known = self.acknowledged.setdefault(entry["id"], entry["seq"])
        if known != entry["seq"]:
            self.conflicts.append(f"{entry['id']} at {known} and {entry['seq']}")
        self.waiting.pop(entry["id"], None)
        self._back[entry["id"]].set()


async def whole_history(server: TidingsUp, person: Person, conv: str) -> list[dict[str, Any]]:
    """Read a conversation from its first entry to its head by HTTP."""
    entries: list[dict[str, Any]] = []
    after = 0
    async with httpx.AsyncClient(base_url=server.url, headers=person.headers, timeout=10) as http:
        while True:
            answer = await http.get(f"/api/messages/{conv}", params={"after": after, "limit": 200})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            entries += page["messages"]
            if not page["hasMore"]:
                return entries
            after = entries[-1]["seq"]
