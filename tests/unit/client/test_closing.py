"""Leaving a client ends it, also when the connection breaks at that very moment."""

import asyncio
from types import TracebackType
from typing import Any, Self

import aiomqtt
import pytest

from tidings.aio import Client
from tidings.profile import Profile
from tidings.protocol import ids

ME = Profile("http://x", "x", {"mqtt": 1}, ids.make_user_id(bytes(11)), ids.make_device_id(bytes(6)), "token")


class Breaking:
    """What aiomqtt does when the socket dies during its goodbye: its own error takes the cancellation's place."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        raise aiomqtt.MqttError("Disconnected during goodbye")

    @property
    def messages(self) -> "Breaking":
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        await asyncio.Event().wait()

    async def subscribe(self, *_: Any) -> None: ...

    async def publish(self, *_: Any, **__: Any) -> None: ...


async def test_a_cut_during_the_goodbye_does_not_keep_the_client_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "_mqtt", lambda self: Breaking())
    async with asyncio.timeout(5):
        async with Client(ME) as client:
            await client.connected.wait()
