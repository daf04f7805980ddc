"""The embedded broker beside Mosquitto: the same packets, and the same answers but for the listed differences."""

import shutil
import subprocess

import pytest

from tests.conformance.broker.differences import DIFFERENCES, VERSION, Difference
from tests.conformance.broker.scripts import SCRIPTS, Transcript, differences, play, transcribe

_PATIENT = 0.6
"""Seconds of silence that end a step when a script is played again: a busy disk may answer late."""


def version() -> str:
    """Tell the version of the Mosquitto on the PATH."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return "none"
    words = subprocess.run([program, "-h"], capture_output=True, text=True).stdout.split()
    return words[2] if len(words) > 2 else "unknown"


pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(version() != VERSION, reason=f"the table is of Mosquitto {VERSION}; Debian 12 has it"),
]


@pytest.fixture(scope="module")
def sites(shared):
    """Both brokers."""
    return shared("embedded"), shared("mosquitto")


@pytest.fixture(scope="module")
def transcripts(sites):
    """Play everything on both, once."""
    return [transcribe(site) for site in sites]


def found(script: str, embedded: Transcript, mosquitto: Transcript) -> list[Difference]:
    """List the differences of a script's transcripts."""
    return [Difference(script, *place, *said) for place, said in differences(embedded, mosquitto).items()]


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_packets_same_answers(sites, transcripts, script):
    listed = sorted(one for group in DIFFERENCES.values() for one in group if one.script == script)
    if found(script, *(played[script] for played in transcripts)) != listed:
        assert found(script, *(play(site, script, _PATIENT) for site in sites)) == listed
