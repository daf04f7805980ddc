"""The suite on Mosquitto, by password: our tokens and rules reach it with a plugin, which is later work."""

import shutil

import pytest

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin") is None and shutil.which("mosquitto") is None,
        reason="mosquitto is not installed; Debian: apt install mosquitto",
    ),
]


def test_mosquitto(run, name):
    run("mosquitto", name)
