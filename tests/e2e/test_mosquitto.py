"""The same promises with Mosquitto and our plugin as the broker, and what happens when Mosquitto is killed.

The promises are the tests of other files, run here on another server.
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conformance.broker.mosquitto import NEEDS_MOSQUITTO
from tests.e2e.people import Sender, connected, next_on, register, whole_history
from tests.e2e.test_delivery import (  # noqa: F401 - run here as well
    test_a_revoked_device_is_disconnected_within_2_s_and_stays_out,
    test_nobody_speaks_in_anothers_name,
)
from tests.e2e.test_kill import check_sender, pairs, progress
from tests.e2e.test_messaging import (  # noqa: F401 - run here as well
    test_a_message_comes_back_as_the_acknowledgement_and_reaches_the_other,
    test_a_repeat_has_the_same_number_and_reaches_only_its_sender,
    test_two_devices_of_one_user_see_the_same_log_also_what_the_other_sent,
    test_who_was_offline_gets_it_all_in_order_on_return,
)
from tests.processes import TidingsUp, until

pytestmark = NEEDS_MOSQUITTO
KILLS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TidingsUp]:
    """A `tidings up` on Mosquitto, shared by the tests of this file."""
    running = TidingsUp(tmp_path_factory.mktemp("mosquitto") / "data", broker="mosquitto").start()
    yield running
    running.stop()


def mosquitto_of(server: TidingsUp) -> psutil.Process:
    """The server's Mosquitto, as soon as there is one."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        assert server.process is not None
        children = psutil.Process(server.process.pid).children()
        found[:] = [child for child in children if child.name() == "mosquitto"]
        return bool(found)

    until(is_there, within=10, what="a mosquitto")
    return found[0]


async def test_a_logged_out_device_finds_no_queue(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, bob):
        pass
    async with httpx.AsyncClient(base_url=server.url, headers=bob.headers, timeout=10) as http:
        assert (await http.post("/api/auth/logout")).status_code in (200, 204)
    again = await register(server, "Bob", phone=bob.phone, device="again")
    async with connected(server, alice) as at_alice, connected(server, again) as at_bob:
        await at_alice.publish(alice.out(alice.conversation_with(bob)), f'{{"id":"m","body":"x","to":"{bob.user}"}}', 1)
        assert (await next_on(at_bob, "/in/msg"))["body"] == "x"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kill_9_of_mosquitto_in_mid_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data", broker="mosquitto", limits_messages_a_minute="0").start()
    try:
        senders: list[Sender] = await pairs(server, 4)
        stop = asyncio.Event()
        running = [asyncio.create_task(sender.run(stop)) for sender in senders]
        for round_ in range(1, KILLS + 1):
            await progress(senders, 15 * round_)
            mosquitto = await asyncio.to_thread(mosquitto_of, server)
            mosquitto.send_signal(signal.SIGKILL)
            await asyncio.to_thread(psutil.wait_procs, [mosquitto], 10)
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*running)
        for sender in senders:
            check_sender(sender, await whole_history(server, sender.person, sender.conv))
    finally:
        server.stop()


async def test_mosquitto_ends_with_its_server_even_by_kill_9(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data", broker="mosquitto").start()
    mosquitto = mosquitto_of(server)
    server.kill()
    gone, _ = await asyncio.to_thread(psutil.wait_procs, [mosquitto], 5)
    assert gone == [mosquitto]
    server.start()
    assert server.stop() == 0
