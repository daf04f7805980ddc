"""In-memory doubles of the API's ports, small enough to be seen to be right, and an API made of them."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI

from acl.keys import KeySet, make_key
from acl.revocations import Revocations
from acl.tokens import Verifier
from services.api import make_api
from services.commands import Order
from services.deps import Deps, MqttDoor
from stores.ports.accounts import Device, RefreshToken, Revocation, User, Verification
from stores.ports.entries import Conversation, MarkMove, Member, Row, Snapshot, Window
from stores.ports.log import HeadOf
from stores.visible import receipts_told, span
from tidings.protocol import codec
from tidings.protocol.errors import Refusal, StoreUnavailable
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import CommandReply, Message

NOW = 1_800_000_000_000
KEYS = KeySet((make_key("EdDSA"),))


class Accounts:
    """Users, blocks, verifications, refresh tokens and policy in dictionaries."""

    def __init__(self) -> None:
        self.people: dict[UserId, User] = {}
        self.owned: dict[tuple[UserId, DeviceId], Device] = {}
        self.pairs: dict[UserId, list[UserId]] = {}
        self.pending: dict[str, Verification] = {}
        self.used: set[str] = set()
        self.refresh: dict[bytes, RefreshToken] = {}
        self.calls: list[str] = []

    async def by_id(self, user: UserId) -> User | None:
        self.calls.append("by_id")
        return self.people.get(user)

    async def by_phone(self, phone: str) -> User | None:
        self.calls.append("by_phone")
        return next((user for user in self.people.values() if user.phone == phone), None)

    async def add(self, user: User) -> User:
        self.calls.append("add")
        return await self.by_phone(user.phone) or self.people.setdefault(user.id, user)

    async def add_device(self, device: Device) -> None:
        self.owned[device.user, device.id] = device

    async def devices(self, user: UserId) -> list[Device]:
        return [device for (owner, _), device in self.owned.items() if owner == user]

    async def revoke_device(self, user: UserId, device: DeviceId, now: int) -> bool:
        found = self.owned.get((user, device))
        if found is None or found.revoked_at:
            return False
        self.owned[user, device] = msgspec.structs.replace(found, revoked_at=now)
        return True

    async def set_banned(self, user: UserId, banned: bool) -> bool:
        self.people[user] = msgspec.structs.replace(self.people[user], banned=banned)
        return True

    async def block(self, user: UserId, blocked: UserId, now: int) -> None:
        if blocked not in self.pairs.setdefault(user, []):
            self.pairs[user].append(blocked)

    async def unblock(self, user: UserId, blocked: UserId) -> None:
        self.pairs[user] = [other for other in self.pairs.get(user, []) if other != blocked]

    async def blocked(self, user: UserId) -> list[UserId]:
        return self.pairs.get(user, [])


class PendingVerifications:
    def __init__(self) -> None:
        self.rows: dict[str, Verification] = {}
        self.dropped: set[str] = set()

    async def put(self, verification: Verification) -> None:
        self.rows[verification.id] = verification

    async def get(self, verification: str) -> Verification | None:
        return None if verification in self.dropped else self.rows.get(verification)

    async def try_code(self, verification: str) -> int:
        found = await self.get(verification)
        if found is None:
            return 0
        self.rows[verification] = msgspec.structs.replace(found, tries_left=max(0, found.tries_left - 1))
        return found.tries_left

    async def drop(self, verification: str) -> bool:
        usable = verification in self.rows and verification not in self.dropped
        self.dropped.add(verification)
        return usable

    async def count_since(self, *, phone: str = "", address: str = "", since: int) -> int:
        return sum(
            row.created_at >= since and phone in ("", row.phone) and address in ("", row.address)
            for row in self.rows.values()
        )


class Refreshes:
    def __init__(self) -> None:
        self.rows: dict[bytes, RefreshToken] = {}

    async def put(self, token: RefreshToken) -> None:
        self.rows[token.hash] = token

    async def use(self, hash_: bytes, now: int) -> RefreshToken | None:
        found = self.rows.get(hash_)
        if found is not None and not found.used_at:
            self.rows[hash_] = msgspec.structs.replace(found, used_at=now)
        return found

    async def end_family(self, family: str) -> None:
        self.rows = {key: row for key, row in self.rows.items() if row.family != family}


class Log:
    """A `LogReader` that a test fills entry by entry."""

    def __init__(self) -> None:
        self.headers: dict[ConvId, Conversation] = {}
        self.in_it: dict[ConvId, dict[UserId, Member]] = {}
        self.log: dict[ConvId, list[Row]] = {}
        self.marked: dict[ConvId, list[MarkMove]] = {}
        self.away = False

    def begin(self, conv: ConvId, *users: UserId, name: str = "") -> None:
        self.headers[conv] = Conversation(conv, conv[4], 0, 0, name=name, created_at=NOW)
        self.in_it[conv] = {user: Member(conv, user, "member", (Window(1),)) for user in users}
        self.log[conv], self.marked[conv] = [], []

    def say(
        self, conv: ConvId, sender: UserId, body: str = "hi", *, kind: str = "text", hidden: tuple[UserId, ...] = ()
    ) -> int:
        seq = len(self.log[conv]) + 1
        said = Message(conv, seq, MessageId(f"m{seq}"), sender, at=NOW + seq, kind=kind, body=body)
        self.log[conv].append(
            Row(conv, seq, said.id, sender, DeviceId("d"), said.at, kind, codec.encode(said), b"", hidden)
        )
        self.headers[conv] = msgspec.structs.replace(self.headers[conv], head=seq)
        return seq

    def window(self, conv: ConvId, user: UserId, *windows: tuple[int, int], role: str = "member") -> None:
        self.in_it[conv][user] = Member(conv, user, role, tuple(Window(*one) for one in windows))

    def move(self, conv: ConvId, user: UserId, kind: str, from_: int, to: int, *, shown: bool = True) -> None:
        version = len(self.marked[conv]) + 1
        self.marked[conv].append(MarkMove(conv, user, kind, from_, to, NOW + 100 + version, version, shown))
        self.headers[conv] = msgspec.structs.replace(self.headers[conv], receipts=version)

    async def rows(self, conv: ConvId, low: int, high: int) -> list[Row]:
        self._check()
        return [row for row in self.log.get(conv, []) if low <= row.seq <= high]

    async def header(self, conv: ConvId) -> Snapshot | None:
        self._check()
        if conv not in self.headers:
            return None
        marks: dict[tuple[UserId, str], int] = {}
        for move in self.marked[conv]:
            marks[move.user, move.kind] = max(move.to, marks.get((move.user, move.kind), 0))
        return Snapshot(self.headers[conv], tuple(self.in_it[conv].values()), marks, (), (), ids_whole=True)

    async def heads(self, user: UserId, after: str, limit: int) -> list[HeadOf]:
        self._check()
        mine = sorted(conv for conv, members in self.in_it.items() if user in members and conv > after)
        return [
            HeadOf(conv, *span(member, header.head), receipts_told(member, header.receipts))
            for conv in mine[:limit]
            for member, header in [(self.in_it[conv][user], self.headers[conv])]
        ]

    async def moves(self, conv: ConvId, seq: int) -> list[MarkMove]:
        return [move for move in self.marked[conv] if move.from_ < seq <= move.to]

    async def members(self, conv: ConvId) -> list[Member]:
        return list(self.in_it[conv].values())

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable


class Writer:
    """`Commands` that remembers what was asked and answers as told."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.refusal: Refusal | None = None

    async def call(self, order: Order) -> CommandReply:
        self.orders.append(order)
        if self.refusal is not None:
            raise self.refusal
        return CommandReply(order.id, seq=len(self.orders))


class Phones:
    """An `SmsSender` that keeps what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, phone: str, text: str, now: int) -> None:
        self.sent.append((phone, text))

    def code(self) -> str:
        """The last code sent."""
        return self.sent[-1][1].split()[0]


class World:
    """An API over doubles, with a clock that a test turns."""

    def __init__(
        self, *, development: bool = False, checks: dict[str, Callable[[], Awaitable[list[str]]]] | None = None
    ) -> None:
        self.now = NOW
        self.accounts = Accounts()
        self.verifications = PendingVerifications()
        self.refreshes = Refreshes()
        self.log = Log()
        self.writer = Writer()
        self.phones = Phones()
        self.revocations = Revocations()
        self.revocations.replace(1, [])
        self.numbers = itertools.count(1)
        self.deps = Deps(
            users=self.accounts,
            blocks=self.accounts,
            verifications=self.verifications,
            refresh_tokens=self.refreshes,
            log=self.log,
            commands=self.writer,
            sms=self.phones,
            keys=lambda: KEYS,
            verifier=Verifier(KEYS),
            revocations=self.revocations,
            mqtt=MqttDoor("mqtt.example.org", 1883, 8083),
            code_secret=b"k" * 32,
            clock=lambda: self.now,
            entropy=self.entropy,
            development=development,
            checks=checks or {},
        )
        self.app: FastAPI = make_api(self.deps)

    def entropy(self, length: int) -> bytes:
        """Bytes that differ at every call, and by which a failing test repeats."""
        return (
            (next(self.numbers) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
            .to_bytes(16, "big")
            .ljust(length, b"\7")[:length]
        )

    def revoke(self, user: str, device: str = "") -> None:
        """Let the snapshot say so."""
        self.revocations.replace(2, [Revocation(UserId(user), DeviceId(device), 0, gone=True)])

    @asynccontextmanager
    async def http(self, host: str = "192.0.2.7", token: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """A client of the API, from an address."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, client=(host, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client

    async def person(self, phone: str = "+4915112345678", name: str = "Alice") -> "Person":
        """Register and prove, through the API."""
        async with self.http() as client:
            answer = await client.post("/api/auth/register", json={"phoneNumber": phone, "name": name})
            assert answer.status_code == 200, answer.text
            proof = {"verificationId": answer.json()["verificationId"], "code": self.phones.code()}
            answer = await client.post("/api/auth/verify-otp", json=proof)
            assert answer.status_code == 200, answer.text
        return Person(answer.json())


class Person:
    """What a login answer said."""

    def __init__(self, login: dict[str, Any]) -> None:
        self.login = login
        self.token: str = login["token"]
        self.refresh: str = login["refreshToken"]
        user, device = login["mqtt"]["clientId"].split(":")
        self.user, self.device = UserId(user), DeviceId(device)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this RFC 9457 problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"urn:tidings:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.headers["x-request-id"]
    return body
