"""SIGTERM in mid-load: the server drains in time, and no client loses, doubles or reorders anything by it."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.people import whole_history
from tests.e2e.test_kill import check_sender, pairs, progress
from tests.processes import TidingsUp

DRAIN_SECONDS = 5.0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_sigterm_in_mid_load_drains_in_time_and_loses_nothing(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data", limits_messages_a_minute="0").start()
    try:
        senders = await pairs(server, 4)
        stop = asyncio.Event()
        running = [asyncio.create_task(sender.run(stop)) for sender in senders]
        for round_ in range(1, 6):
            await progress(senders, 40 * round_)
            begun = time.monotonic()
            assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0, server.output
            assert time.monotonic() - begun < DRAIN_SECONDS
            await asyncio.to_thread(server.start)
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*running)
        for sender in senders:
            check_sender(sender, await whole_history(server, sender.person, sender.conv))
        assert "Traceback" not in server.output
    finally:
        server.kill()
