"""Every known-bad build is caught within a bounded number of seeds: otherwise the simulation proves nothing."""

import os
import subprocess
import sys

import pytest

from tests.simulation.builds import KNOWN_BAD

WITHIN = 200
"""Seeds. Most are caught by the first; stale handles need a cut at the right moment and a reused packet id."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("build", sorted(KNOWN_BAD))
def test_a_known_bad_build_is_caught(build: str) -> None:
    command = [sys.executable, "-m", "tests.simulation", "0", "--to", str(WITHIN - 1), "--build", build]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    assert done.returncode == 1, done.stdout
    assert done.stdout.startswith("Violation: "), done.stdout
    assert f"--build {build} --trace" in done.stdout
