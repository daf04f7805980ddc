"""What the HTTP API is given by whoever composes it, and how a route gets at it. Nothing else is shared.

Rules
- No global state; a test makes as many APIs as it likes. Times in ms UTC by `clock`, randomness by `entropy`.
- Every dependency of a route is a coroutine: FastAPI runs plain functions in threads, and what stands here is used by
  one.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from msgspec import Struct
from prometheus_client import CollectorRegistry

from acl.keys import KeySet
from acl.revocations import Revocations
from acl.tokens import Verifier
from services.commands import Commands
from services.sms import SmsSender
from stores.ports.accounts import Blocks, RefreshTokens, Users, Verifications
from stores.ports.log import LogReader

Check = Callable[[], Awaitable[list[str]]]
"""Tells why a part is not ready: one line a reason, none when it is."""


class MqttDoor(Struct, frozen=True):
    """Where devices find the broker; a port 0 is not offered. `path` is WebSocket's."""

    host: str
    mqtt: int
    websocket: int = 0
    tls: int = 0
    path: str = "/mqtt"


@dataclass(frozen=True, kw_only=True)
class Deps:
    """The API's ports and settings. `keys` is asked at every use, so that keys may rotate; `code_secret` (32 bytes)
    keys the hashes of verification codes; `development` exempts loopback addresses from the limit of registrations."""

    users: Users
    blocks: Blocks
    verifications: Verifications
    refresh_tokens: RefreshTokens
    log: LogReader
    commands: Commands
    sms: SmsSender
    keys: Callable[[], KeySet]
    verifier: Verifier
    revocations: Revocations
    mqtt: MqttDoor
    code_secret: bytes
    clock: Callable[[], int]
    entropy: Callable[[int], bytes]
    token_ms: int = 3_600_000
    refresh_ms: int = 30 * 86_400_000
    development: bool = False
    checks: Mapping[str, Check] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


async def deps_of(request: Request) -> Deps:
    """Find the dependencies of the application that serves this request."""
    deps: Deps = request.app.state.deps
    return deps


Given = Annotated[Deps, Depends(deps_of)]
