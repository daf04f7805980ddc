"""The suite of rights on Mosquitto with our plugin."""

from tests.conformance.broker.mosquitto import NEEDS_MOSQUITTO

pytestmark = NEEDS_MOSQUITTO


def test_mosquitto(run, name):
    run("mosquitto", name)
