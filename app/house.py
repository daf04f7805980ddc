"""The composition root of `tidings up`: broker, bridge, stores and HTTP API in one process, wired here alone.

Rules
- The order of the start is stores, keys, broker (which admits no device), bridge (so that every bridge session exists),
  HTTP, then devices. The stop is the reverse.
- What goes wrong at the start undoes what was started.
"""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from prometheus_client import REGISTRY, CollectorRegistry

from acl import keys
from acl.gate import TokenGate
from acl.revocations import Revocations
from acl.tokens import Verifier
from app import obstacles
from app.background import kept_running
from app.cast import INBOX
from app.clock import entropy, jitter, new_message_id, now_ms
from app.doors import Door, open_door
from app.pruning import pruned
from app.running import Running, told
from app.secret import load_or_make_secret
from app.settings import Settings
from app.shelves import Shelves, opened
from app.watch import PolicyWatch
from app.web import served
from bridge.batch import Bounds
from bridge.bridge import Bridge
from bridge.owner import Stores, Surroundings
from broker.port import Health
from services.api import make_api
from services.commands import CommandClient
from services.deps import Check, Deps, MqttDoor
from services.sms import DevelopmentInbox
from tidings.protocol.ids import GROUPS

START_SECONDS: Final = 20.0


class House:
    """Everything, running while entered. `ports` are those of `choose_ports`."""

    def __init__(self, settings: Settings, ports: dict[str, int], registry: CollectorRegistry = REGISTRY) -> None:
        self.settings = settings
        self.url = f"http://{settings.public_host or settings.host}:{ports['http_port']}"
        self._ports = ports
        self._registry = registry
        self._stack = AsyncExitStack()
        self._process = f"{os.getpid():x}{entropy(4).hex()}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            with obstacles.told(self.settings.data):
                await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        shelves = await stack.enter_async_context(opened(self.settings.data, self._registry))
        signing = keys.load_or_make(self.settings.data / "keys.json")
        verifier, revocations = Verifier(signing), Revocations()
        await revocations.refresh(shelves.policy)
        await stack.enter_async_context(kept_running(pruned(shelves.log)))
        door = await stack.enter_async_context(
            open_door(self.settings, self._ports, TokenGate(verifier, revocations, jitter), signing, revocations)
        )
        if door.metrics is not None:
            self._registry.register(door.metrics)
            stack.callback(self._registry.unregister, door.metrics)
        watch = PolicyWatch(shelves.policy, revocations, door.broker)
        await stack.enter_async_context(kept_running(watch.run()))
        bridge = self._bridge(shelves, door)
        stack.push_async_callback(bridge.stop)
        await bridge.start(START_SECONDS)
        commands = CommandClient(door.service_link(self._process), self._process, now_ms)
        await stack.enter_async_context(kept_running(commands.run()))
        checks: dict[str, Check] = {
            "broker": _at_once(lambda: _of_broker(door.broker.health())),
            "bridge": _at_once(bridge.reasons),
            "commands": _at_once(lambda: [] if commands.connected else ["no link to the broker"]),
            "policy": _at_once(lambda: watch.troubles),
            "log": shelves.engines["log"].check,
            "app": shelves.engines["app"].check,
        }
        api = make_api(self._deps(shelves, door, commands, signing, verifier, revocations, checks))
        door.broker.admit()
        await stack.enter_async_context(served(api, self.settings.host, self._ports["http_port"]))
        here = Running(os.getpid(), self.settings.host, door.endpoints.mqtt, self._ports["http_port"])
        stack.enter_context(told(self.settings.data, here))

    def _bridge(self, shelves: Shelves, door: Door) -> Bridge:
        stores = Stores(shelves.log, shelves.log, shelves.directory, shelves.dead_letters, shelves.last_seen)
        surroundings = Surroundings(now_ms, jitter, new_message_id, self._process)
        bounds = Bounds(messages_a_minute=self.settings.limits_messages_a_minute or None)
        return Bridge(GROUPS, stores, door.bridge_link, surroundings, bounds)

    def _deps(
        self,
        shelves: Shelves,
        door: Door,
        commands: CommandClient,
        signing: keys.KeySet,
        verifier: Verifier,
        revocations: Revocations,
        checks: dict[str, Check],
    ) -> Deps:
        settings = self.settings
        at = door.endpoints
        return Deps(
            users=shelves.users,
            blocks=shelves.blocks,
            verifications=shelves.verifications,
            refresh_tokens=shelves.refresh_tokens,
            log=shelves.log,
            commands=commands,
            sms=DevelopmentInbox(settings.data / INBOX),
            keys=lambda: signing,
            verifier=verifier,
            revocations=revocations,
            mqtt=MqttDoor(settings.public_host or settings.host, at.mqtt, at.websocket, at.tls, at.path),
            code_secret=load_or_make_secret(settings.data / "codes.key"),
            clock=now_ms,
            entropy=entropy,
            token_ms=settings.token_seconds * 1_000,
            refresh_ms=settings.refresh_days * 86_400_000,
            development=settings.development,
            checks=checks,
            registry=self._registry,
        )


def _of_broker(health: Health) -> list[str]:
    """Tell why a broker is not ready; a message dropped since the start is a reason by itself."""
    dropped = [f"{health.dropped} messages were dropped"] if health.dropped else []
    return [*health.reasons, *dropped]


def _at_once(tell: Callable[[], list[str]]) -> Check:
    async def check() -> list[str]:
        return tell()

    return check
