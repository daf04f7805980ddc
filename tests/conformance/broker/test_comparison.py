"""The embedded broker beside Mosquitto: the same packets, and the same answers but for the listed differences."""

import pytest

from tests.conformance.broker.differences import DIFFERENCES, Difference
from tests.conformance.broker.scripts import SCRIPTS, differences, transcribe
from tests.conformance.broker.test_mosquitto import pytestmark

__all__ = ["pytestmark"]


@pytest.fixture(scope="module")
def transcripts(shared):
    """Play everything on both, once."""
    return transcribe(shared("embedded")), transcribe(shared("mosquitto"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_packets_same_answers(transcripts, script):
    embedded, mosquitto = transcripts
    found = differences(embedded[script], mosquitto[script])
    listed = [one for group in DIFFERENCES.values() for one in group if one.script == script]
    assert [Difference(script, *place, *said) for place, said in found.items()] == sorted(listed)
