"""kill -9 of a broker process with thousands of messages queued, between and during deliveries."""

import pytest

from broker.port import Limits
from tests.conformance.broker.clients import number, payload
from tests.conformance.broker.site import Site
from tests.conformance.broker.suite import Trial

RECEIVERS = 4
EACH = 1_500
LIMITS = Limits(publish_rate=1e6, publish_burst=1_000_000)


@pytest.fixture
def trial(tmp_path):
    """Run a broker in a process of its own."""
    site = Site("embedded", tmp_path / "data", LIMITS)
    site.patience = 30.0
    trial = Trial(site.start())
    yield trial
    trial.end()
    site.stop()


def test_thousands_of_queued_messages_survive_kill_9(trial):
    names = [f"r{n}" for n in range(RECEIVERS)]
    for name in names:
        receiver = trial.connected(name, clean=False)
        receiver.subscribe(trial.topic("#"))
        receiver.disconnect()
    sender = trial.connected("sender")
    sent = [sender.publish(trial.topic("a"), payload(n), wait=False) for n in range(EACH)]
    sender.answered(*sent)
    trial.site.kill()
    trial.site.start()
    assert trial.site.health().queued == RECEIVERS * EACH
    for name in names:
        back = trial.connected(name, clean=False)
        assert back.present
        assert [number(text) for text in back.texts(EACH)] == list(range(EACH))


def test_kill_9_in_mid_drain_brings_the_rest(trial):
    receiver = trial.connected("r", clean=False)
    receiver.subscribe(trial.topic("#"))
    receiver.disconnect()
    sender = trial.connected("sender")
    sent = [sender.publish(trial.topic("a"), payload(n), wait=False) for n in range(EACH)]
    sender.answered(*sent)
    seen = []
    for share in (200, 500):
        back = trial.connected("r", clean=False)
        seen += [number(text) for text in back.texts(share)]
        seen += [number(message.text) for message in back.got]
        trial.site.kill()
        trial.site.start()
    last = trial.connected("r", clean=False)
    while EACH - 1 not in seen:
        seen += [number(text) for text in last.texts(1)]
    assert list(dict.fromkeys(seen)) == list(range(EACH))
    assert len(seen) < 2 * EACH, "what was acknowledged came again"
