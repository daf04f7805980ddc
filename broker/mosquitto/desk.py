"""Who may do what in a Mosquitto: the gate's answers for connections that the plugin knows by an address. No I/O.

Rules
- The gate decides (`acl.decisions.Gate`), as on every broker; here is only kept who stands behind which address.
- Devices are let in when the control says so *and* every bridge has subscribed all its filters since this Mosquitto
  began: what it acknowledges is then somebody's (promise 1). Ours come in before.
- A connection ends when its principal is void: at a time known at its entrance, or when revocations changed. Only the
  newest connection of a client id is ended, since Mosquitto ends them by that.
- Mosquitto asks for a will after the connection's end. So who has left is kept, and the oldest of `MOST_LEFT` let go.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final

from acl.decisions import Gate, Principal
from broker.mosquitto.control import OPERATOR, Control, digest_of
from tidings.protocol import topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, UserId

MOST_LEFT: Final = 10_000
_NEVER: Final = 2**62


class Answer(IntEnum):
    """An answer to CONNECT, as C knows it. `LATER` closes without a word: nothing is wrong with the token."""

    LATER = -1
    REFUSED = 0
    DEVICE = 1
    OURS = 2


class Access(IntEnum):
    """Mosquitto's `MOSQ_ACL_*`."""

    READ = 1
    WRITE = 2
    SUBSCRIBE = 4


class Desk:
    """Answers the plugin. `forget` tells it to forget a connection, by its address."""

    def __init__(self, gate: Gate, control: Control, forget: Callable[[int], None]) -> None:
        self._gate = gate
        self._control = control
        self._forget = forget
        self._principals: dict[int, Principal] = {}
        self._newest: dict[str, int] = {}
        self._left: OrderedDict[int, None] = OrderedDict()
        self._ends: list[tuple[int, int]] = []
        self._missing = _missing(control)

    def use(self, control: Control, now: int) -> list[str]:
        """Take the control that is in force now; tells the client ids to be disconnected."""
        if control.groups != self._control.groups:
            self._missing = _missing(control)
        self._control = control
        return [
            client_id for client_id, client in self._newest.items() if self._gate.is_void(self._principals[client], now)
        ]

    def authenticate(self, client: int, client_id: str, username: str, password: str, now: int) -> Answer:
        """Answer a CONNECT."""
        self._drop(client)
        try:
            principal = self._principal(client_id, username, password, now)
        except Refusal as refusal:
            return Answer.LATER if refusal.code is Code.UNAVAILABLE else Answer.REFUSED
        if not principal.custodian and not self._admits:
            return Answer.LATER
        self._principals[client] = principal
        self._newest[client_id] = client
        self._note_end(client, principal.expires_at)
        return Answer.OURS if principal.custodian else Answer.DEVICE

    def check(self, client: int, access: int, topic: str, *, qos: int, retain: bool) -> bool:
        """Answer whether a connection may. Reading is what a subscription to just this topic would be."""
        principal = self._principals.get(client)
        if principal is None:
            return access == Access.READ
        if principal.username == OPERATOR and access == Access.READ:
            return True  # it stands in for another for a moment, whose queue must not be thrown away
        if access == Access.WRITE:
            return self._gate.publish(principal, topic, retain=retain, qos=qos).allowed
        allowed = self._gate.subscribe(principal, topic).allowed
        if allowed and access == Access.SUBSCRIBE and principal.custodian:
            self._missing.discard(topic)
        return allowed

    def left(self, client: int) -> None:
        """Take note of a connection's end."""
        principal = self._principals.get(client)
        if principal is None:
            return
        if self._newest.get(principal.client_id) == client:
            del self._newest[principal.client_id]
        self._left[client] = None
        if len(self._left) > MOST_LEFT:
            oldest = next(iter(self._left))
            self._drop(oldest)
            self._forget(oldest)

    def expired(self, now: int) -> list[str]:
        """Tell the client ids whose time has come since the last question."""
        over = []
        while self._ends and self._ends[0][0] <= now:
            client = heappop(self._ends)[1]
            if self._is_here(client) and self._gate.is_void(self._principals[client], now):
                over.append(self._principals[client].client_id)
        return over

    def _note_end(self, client: int, at: int) -> None:
        """Remember when a connection must end. Who comes and goes leaves such notes: they are thrown away when they
        are more than there can be connections."""
        if len(self._ends) > 2 * len(self._newest) + MOST_LEFT:
            self._ends = [end for end in self._ends if self._is_here(end[1])]
            heapify(self._ends)
        heappush(self._ends, (at, client))

    def _is_here(self, client: int) -> bool:
        principal = self._principals.get(client)
        return principal is not None and self._newest.get(principal.client_id) == client

    @property
    def _admits(self) -> bool:
        return self._control.admitted and not self._missing

    def _principal(self, client_id: str, username: str, password: str, now: int) -> Principal:
        if username == OPERATOR:
            if not hmac.compare_digest(digest_of(password), self._control.operator):
                raise Refusal(Code.UNAUTHENTICATED)
            return _operator(client_id, now)
        return self._gate.authenticate(client_id, username, password.encode("utf-8", "surrogateescape"), now)

    def _drop(self, client: int) -> None:
        principal = self._principals.pop(client, None)
        self._left.pop(client, None)
        if principal is not None and self._newest.get(principal.client_id) == client:
            del self._newest[principal.client_id]


def _missing(control: Control) -> set[str]:
    return {pattern for group in control.groups for pattern in topics.bridge_subscriptions(group)}


def _operator(client_id: str, now: int) -> Principal:
    """Name the operator: an admin, who reads `$SYS` and publishes nothing, under any client id."""
    return Principal(
        user=UserId("operator"),
        device=DeviceId(""),
        role="admin",
        client_id=client_id,
        username=OPERATOR,
        issued_at=now,
        expires_at=_NEVER,
        custodian=True,
    )
