"""Seeded histories of a whole installation hold, and a seed is the same history every time.

Rules
- Histories run in processes of their own with PYTHONHASHSEED=0, so that a seed means the same here and by hand.
- A failure prints one line that plays the history again.
"""

import os
import subprocess
import sys

import pytest

from tests.simulation.engines import ENGINES

FAST, SLOW, PART = 100, 4_000, 500


def play(*arguments: str) -> str:
    """Run the player; tells what it printed. Fails with it when a history does not hold."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    if done.returncode:
        pytest.fail(f"{done.stdout}{done.stderr}".strip(), pytrace=False)
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_histories_hold(engine: str) -> None:
    play("0", "--to", str(FAST - 1), "--engine", engine)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("first", range(FAST, FAST + SLOW, PART))
def test_thousands_of_histories_hold(engine: str, first: int) -> None:
    play(str(first), "--to", str(first + PART - 1), "--engine", engine)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_seed_is_one_history(engine: str) -> None:
    once = play("7", "--engine", engine, "--trace")
    assert once == play("7", "--engine", engine, "--trace")
    assert once != play("8", "--engine", engine, "--trace")
    assert "journal: " in once
