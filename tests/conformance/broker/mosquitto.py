"""Whether this machine has what a Mosquitto with our plugin needs."""

import shutil

import pytest

from broker.mosquitto.build import missing


def lacking():
    """Tell in one line what is missing; empty when nothing."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    return missing() if found else "mosquitto is not installed; Debian: apt install mosquitto"


LACKING = lacking()
NEEDS_MOSQUITTO = [pytest.mark.mosquitto, pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")]
"""The marks of a test that runs a Mosquitto with our plugin."""
