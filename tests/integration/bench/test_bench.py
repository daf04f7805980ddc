"""The bench itself, on a real broker and in a second or two: it measures what happened, and leaves its results."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.report import Report

SHORT = ("--seconds", "0.5", "--warm-up", "0.2", "--clients", "4")


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = ("--data", str(folder / "data"), "--results", str(folder / "results"))
    command = [sys.executable, "-m", "bench", *SHORT, *places, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.mosquitto
def test_a_short_run_on_mosquitto(tmp_path: Path) -> None:
    done = bench(tmp_path, "--systems", "mosquitto", "--rates", "100", "--json")
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    closed, opened = report.measured
    for one in (closed, opened):
        tally = one.tally
        assert (tally.missing, tally.repeated, tally.refused) == (0, 0, 0)
        assert tally.acknowledged > 0
        assert tally.deliver.p50 > 0
        assert set(one.usage.by_process) == {"broker", "load generator"}
    assert opened.tally.sent == pytest.approx(50, abs=5)
    assert opened.tally.acknowledge.count == 50, "every message that was due is in the distribution"
    assert closed.tally.sent > opened.tally.sent
    assert {path.suffix for path in (tmp_path / "results").iterdir()} == {".md", ".json", ".png"}
    assert not list((tmp_path / "data").iterdir()), "the server's folder is left behind"


def test_a_system_that_cannot_start_is_told_in_one_line(tmp_path: Path) -> None:
    environment_without_mosquitto = {"PATH": str(tmp_path)}
    command = [sys.executable, "-m", "bench", "--systems", "mosquitto", "--data", str(tmp_path), "--results"]
    done = subprocess.run(
        [*command, str(tmp_path / "results")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment_without_mosquitto,
        check=False,
    )
    assert done.returncode == 1
    assert "not measured: mosquitto is not on the PATH" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_bad_option_ends_in_status_2(tmp_path: Path) -> None:
    done = bench(tmp_path, "--systems", "nonesuch")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "python -m bench: error: no such system: nonesuch"
