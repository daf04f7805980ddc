"""The suite on amqtt, which is there for trials: slow, for what it fails has to be waited for."""

import pytest

pytestmark = pytest.mark.slow


def test_amqtt(run, name):
    run("amqtt", name)
