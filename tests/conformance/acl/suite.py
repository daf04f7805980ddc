"""`check_broker_acl`: who may say what where, tried black-box over MQTT with real tokens.

Rules
- A case is a function of one `AclTrial`. The broker asks the real gate over a real key set; nothing is mocked.
- What must not be delivered is looked for by an observer that may see everything, after a marker that it does see.
"""

from typing import NamedTuple

from tests.conformance.acl.keys import Person
from tests.conformance.broker.clients import Closed, Peer, Wire
from tests.conformance.broker.suite import Case

CASES: dict[str, Case] = {}


def case(*, slow=False):
    """Add a function to the suite."""

    def add(run):
        CASES[run.__name__] = Case(run.__name__, run, frozenset(), False, slow, {})
        return run

    return add


class Refused(NamedTuple):
    """How a CONNECT was refused: a return code's name, or "closed"."""

    how: str


class AclTrial:
    """One run of a case, with people and clients in their names."""

    def __init__(self, site, mint):
        self.site, self.mint = site, mint
        self._opened = []

    def person(self, lane="00"):
        """Make a user with a device."""
        return self.mint.person(lane)

    def enter(self, who: Person, *, token=None, client_id=None, username=None, **options) -> Peer:
        """Connect as a person, with the person's own token unless another is given."""
        peer = Peer(
            self.site,
            client_id or who.client_id,
            username=username or who.user,
            password=who.token() if token is None else token,
            **options,
        )
        self._opened.append(peer.cut)
        return peer.connect()

    def is_refused(self, who: Person, *, token=None, client_id=None, username=None, **fields) -> Refused:
        """Try to connect, and fail if it is let in."""
        wire = Wire(self.site)
        self._opened.append(wire.close)
        try:
            answer = wire.connect(
                client_id or who.client_id,
                username=username or who.user,
                password=who.token() if token is None else token,
                **fields,
            )
        except Closed:
            return Refused("closed")
        assert answer.reason_code.value != 0, "it was let in"
        assert not answer.session_present
        assert wire.is_closed()
        return Refused(answer.reason_code.name)

    def bearer(self, **claims) -> Peer:
        """Connect somebody whose token has just these grants."""
        who = self.person()
        return self.enter(who, token=who.token(role="", **claims))

    def observer(self) -> Peer:
        """Connect somebody who may see everything."""
        peer = self.bearer(allow=(("subscribe", "#"),))
        assert peer.subscribe("#") == [1]
        return peer

    def seen(self, observer: Peer, speaker: Person) -> list[tuple[str, bytes]]:
        """Tell what the observer has seen so far, up to a marker that a new connection of the speaker's sends."""
        marker = f"{speaker.own}/do/{speaker.lane}/marker"
        fresh = self.enter(speaker.other_device())
        marker = marker.replace(speaker.device, fresh.client_id.split(":")[1])
        fresh.publish(marker, b"")
        fresh.disconnect()
        observer.until(lambda: any(message.topic == marker for message in observer.got), "the marker")
        seen = [(message.topic, message.payload) for message in observer.got if message.topic != marker]
        observer.got.clear()
        return [(topic, payload) for topic, payload in seen if not topic.endswith("/marker")]

    def end(self):
        """Close everything."""
        for close in self._opened:
            close()


def check_broker_acl(case: Case, site, mint) -> None:
    """Try one rule on one broker. Raises `AssertionError` where it is not kept."""
    trial = AclTrial(site, mint)
    try:
        case.run(trial)
    finally:
        trial.end()
