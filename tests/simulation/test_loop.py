"""The simulated loop keeps its own rules: virtual time, replay by seed, no way out to the machine."""

import asyncio
import random
import time

import pytest

from tests.simulation.loop import Forbidden, SimLoop, Spinning, Stalled, run


async def _scramble(loop: SimLoop, seed: int) -> list[tuple[float, int]]:
    """Twenty tasks that sleep whole tenths of a second, so that many wake at one instant."""
    seen: list[tuple[float, int]] = []
    dice = random.Random(seed)

    async def walk(name: int) -> None:
        for _ in range(5):
            await asyncio.sleep(dice.randint(1, 3) / 10)
            seen.append((round(loop.time(), 1), name))

    await asyncio.gather(*(walk(name) for name in range(20)))
    return seen


def _play(ties: int) -> list[tuple[float, int]]:
    return run(ties, lambda loop: _scramble(loop, 7))


def test_a_seed_replays_and_seeds_differ() -> None:
    assert _play(1) == _play(1)
    assert len({tuple(_play(seed)) for seed in range(10)}) == 10


def test_an_hour_takes_no_time() -> None:
    async def history(loop: SimLoop) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    began = time.monotonic()
    assert run(0, history) == pytest.approx(3600)
    assert time.monotonic() - began < 5


def test_ready_callbacks_keep_their_order() -> None:
    async def history(loop: SimLoop) -> list[int]:
        seen: list[int] = []
        for n in range(100):
            loop.call_soon(seen.append, n)
        await asyncio.sleep(0)
        return seen

    assert run(3, history) == list(range(100))


def test_waiting_for_nothing_is_an_error() -> None:
    async def history(loop: SimLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stalled):
        run(0, history)


def test_spinning_is_an_error() -> None:
    async def history(_: SimLoop) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Spinning):
        run(0, history)


@pytest.mark.parametrize("way_out", ["thread", "name", "connection", "server"])
def test_there_is_no_way_out(way_out: str) -> None:
    async def history(loop: SimLoop) -> None:
        match way_out:
            case "thread":
                await asyncio.to_thread(time.time)
            case "name":
                await loop.getaddrinfo("localhost", 80)
            case "connection":
                await asyncio.open_connection("127.0.0.1", 1)
            case _:
                await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)

    with pytest.raises(Forbidden):
        run(0, history)


def test_what_a_task_raised_unheard_is_told() -> None:
    async def fail() -> None:
        raise ValueError("unheard")

    async def history(loop: SimLoop) -> None:
        task = loop.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ValueError, match="unheard"):
        run(0, history)
