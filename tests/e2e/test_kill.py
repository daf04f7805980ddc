"""kill -9 of the whole server in mid-load, again and again: nothing acknowledged is lost, doubled or reordered."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.e2e.people import Sender, register, whole_history
from tests.processes import TidingsUp

KILLS = int(os.environ.get("TIDINGS_TEST_KILLS", "20"))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kill_9_of_the_whole_server_in_mid_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data", limits_messages_a_minute="0").start()
    try:
        senders = await pairs(server, 4)
        stop = asyncio.Event()
        running = [asyncio.create_task(sender.run(stop)) for sender in senders]
        for round_ in range(1, KILLS + 1):
            await progress(senders, 15 * round_)
            server.kill()
            await asyncio.to_thread(server.start)
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*running)
        for sender in senders:
            check_sender(sender, await whole_history(server, sender.person, sender.conv))
    finally:
        server.kill()


async def pairs(server: TidingsUp, count: int) -> list[Sender]:
    people = [await register(server, f"p{number}") for number in range(2 * count)]
    senders = []
    for one, other in zip(people[::2], people[1::2], strict=True):
        conv = one.conversation_with(other)
        senders += [Sender(server, one, conv, other.user), Sender(server, other, conv, one.user)]
    return senders


async def progress(senders: list[Sender], total: int) -> None:
    """Wait until so many messages were acknowledged in all, so that every kill comes in mid-load."""
    async with asyncio.timeout(60):
        while sum(len(sender.acknowledged) for sender in senders) < total:
            await asyncio.sleep(0.005)


def check_sender(sender: Sender, history: list[dict[str, object]]) -> None:
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1)), "holes"
    mine = [entry for entry in history if entry.get("device") == sender.person.device and entry["kind"] == "text"]
    at = {str(entry["id"]): entry["seq"] for entry in mine}
    assert len(at) == len(mine), "doubled"
    assert {id_: at.get(id_) for id_ in sender.acknowledged} == sender.acknowledged, "lost or renumbered"
    assert [str(entry["id"]) for entry in mine] == list(sender.acknowledged), "reordered"
    assert sender.conflicts == []
    assert sender.refused == []
