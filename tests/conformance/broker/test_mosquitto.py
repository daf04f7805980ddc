"""The suite of sessions on Mosquitto with our plugin, whose gate is open to one password."""

from tests.conformance.broker.mosquitto import NEEDS_MOSQUITTO

pytestmark = NEEDS_MOSQUITTO


def test_mosquitto(run, name):
    run("mosquitto", name)
