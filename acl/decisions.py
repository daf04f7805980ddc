"""The one place where is decided who may say what where. Every broker asks here.

Rules
- Deny by default; an explicit deny wins over any allow; a wildcard subscription is allowed only when wholly inside
  a grant.
- A principal is what a verified token said, frozen at CONNECT; `is_void` tells later whether it must be disconnected.
- Decisions take `now`; nothing here reads a clock, a socket or a database.
"""

from typing import Protocol

from msgspec import Struct

from tidings.protocol.ids import DeviceId, UserId


class Principal(Struct, frozen=True):
    """Who is connected: user, device and role of a verified token, the client id and username it is bound to,
    and
    `expires_at` (ms), jitter included. `custodian` sessions (bridges, services) are ours: a device's PUBACK waits
    for theirs."""

    user: UserId
    device: DeviceId
    role: str
    client_id: str
    username: str
    issued_at: int
    expires_at: int
    allow: tuple[tuple[str, str], ...] = ()
    deny: tuple[tuple[str, str], ...] = ()
    custodian: bool = False


class Decision(Struct, frozen=True):
    """The answer and the rule that gave it, for `explain`."""

    allowed: bool
    rule: str


class Gate(Protocol):
    """What a broker asks."""

    def authenticate(self, client_id: str, username: str | None, password: bytes | None, now: int) -> Principal:
        """Verify the token in `password` and its binding to client id and username. Raises `Refusal(unauthenticated |
        tokenExpired | unavailable)`."""
        ...

    def publish(self, principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
        """May it publish (also: have as its will) to this topic?"""
        ...

    def subscribe(self, principal: Principal, topic_filter: str) -> Decision:
        """May it subscribe to this filter?"""
        ...

    def is_void(self, principal: Principal, now: int) -> bool:
        """Must it be disconnected now: expired, revoked, banned, grants changed?"""
        ...
