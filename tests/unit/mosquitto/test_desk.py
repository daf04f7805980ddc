"""The desk of Mosquitto's plugin: who is let in when, who stands behind an address, and who must go."""

import pytest

from acl import tokens
from acl.gate import TokenGate, bridge_claims
from acl.keys import KeySet, make_key
from acl.revocations import Revocations
from acl.tokens import Claims, Verifier
from broker.mosquitto import desk as desks
from broker.mosquitto.control import OPERATOR, Control, digest_of
from broker.mosquitto.desk import Access, Answer, Desk
from stores.ports.accounts import Revocation
from tidings.protocol import ids, topics
from tidings.protocol.ids import Group

NOW = 1_800_000_000_000
HOUR = 3_600_000
ALICE = ids.make_user_id(bytes(range(11)))
PHONE = ids.make_device_id(b"phone1")
CLIENT = ids.client_id(ALICE, PHONE)
OWN = f"u/{ALICE}/{PHONE}"
KEYS = KeySet((make_key("EdDSA"),))
GROUP = Group("0")
BRIDGE = f"bridge-{GROUP}"


class Plugin:
    """A desk, and what it told C to forget."""

    def __init__(self, **control: object) -> None:
        self.forgotten: list[int] = []
        self.revocations = Revocations()
        self.revocations.replace(0, [])
        gate = TokenGate(Verifier(KEYS), self.revocations, lambda: 0.0)
        self.control = Control(**{"admitted": True, "operator": digest_of("secret"), **control})  # type: ignore[arg-type]
        self.desk = Desk(gate, self.control, self.forgotten.append)

    def enter(self, client: int = 1, *, life: int = HOUR, now: int = NOW, password: str = "") -> Answer:
        token = password or tokens.issue(KEYS, Claims(ALICE, PHONE, "device", NOW, NOW + life))
        return self.desk.authenticate(client, CLIENT, ALICE, token, now)

    def bridge(self, client: int) -> Answer:
        token = tokens.issue(KEYS, bridge_claims(GROUP, NOW, HOUR))
        return self.desk.authenticate(client, BRIDGE, BRIDGE, token, NOW)

    def may(self, client: int, access: Access, topic: str, **how: int) -> bool:
        return self.desk.check(client, access, topic, qos=how.get("qos", 1), retain=bool(how.get("retain", 0)))


def test_a_device_has_the_rights_of_the_gate() -> None:
    plugin = Plugin()
    assert plugin.enter() is Answer.DEVICE
    assert plugin.may(1, Access.WRITE, f"{OWN}/do/00/heads")
    assert not plugin.may(1, Access.WRITE, f"{OWN}/do/00/heads", qos=2)
    assert not plugin.may(1, Access.WRITE, f"{OWN}/state/00", retain=1)
    assert not plugin.may(1, Access.WRITE, f"u/{ALICE}/in/msg")
    assert plugin.may(1, Access.SUBSCRIBE, f"u/{ALICE}/in/#")
    assert not plugin.may(1, Access.SUBSCRIBE, "$SYS/#")
    assert plugin.may(1, Access.READ, f"u/{ALICE}/in/msg")
    assert not plugin.may(1, Access.READ, "u/somebody/in/msg")


def test_a_bad_token_is_refused_and_ends_what_stood_at_its_address() -> None:
    plugin = Plugin()
    plugin.enter()
    assert plugin.enter(password="forged") is Answer.REFUSED
    assert not plugin.may(1, Access.WRITE, f"{OWN}/do/00/heads")


def test_without_a_principal_only_reading_is_allowed() -> None:
    plugin = Plugin()
    assert [plugin.may(7, access, f"u/{ALICE}/in/msg") for access in Access] == [True, False, False]


def test_devices_wait_for_the_control_and_for_every_bridge() -> None:
    plugin = Plugin(admitted=False, groups=(GROUP,))
    assert plugin.enter() is Answer.LATER
    plugin.desk.use(Control(admitted=True, operator="", groups=(GROUP,)), NOW)
    assert plugin.enter() is Answer.LATER, "no bridge is there"
    assert plugin.bridge(2) is Answer.OURS
    filters = topics.bridge_subscriptions(GROUP)
    for pattern in filters[1:]:
        assert plugin.may(2, Access.SUBSCRIBE, pattern)
    assert plugin.enter() is Answer.LATER, "the bridge has not subscribed everything"
    plugin.may(2, Access.SUBSCRIBE, filters[0])
    assert plugin.enter() is Answer.DEVICE
    plugin.desk.left(2)
    assert plugin.enter(3) is Answer.DEVICE, "the bridge's session queues while it is away"


def test_a_device_cannot_stand_in_for_a_bridge() -> None:
    plugin = Plugin(groups=(GROUP,))
    plugin.bridge(2)
    for pattern in topics.bridge_subscriptions(GROUP):
        plugin.may(1, Access.SUBSCRIBE, pattern)
    assert plugin.enter() is Answer.LATER


def test_a_store_that_was_never_read_says_later() -> None:
    plugin = Plugin()
    plugin.desk = Desk(TokenGate(Verifier(KEYS), Revocations(), lambda: 0.0), plugin.control, plugin.forgotten.append)
    assert plugin.enter() is Answer.LATER


def test_a_connection_ends_with_its_token_and_once() -> None:
    plugin = Plugin()
    plugin.enter(life=5_000)
    assert plugin.desk.expired(NOW + 4_999) == []
    assert plugin.desk.expired(NOW + 5_000) == [CLIENT]
    assert plugin.desk.expired(NOW + 9_000) == []


def test_an_older_connections_end_does_not_touch_the_newer() -> None:
    plugin = Plugin()
    plugin.enter(1, life=5_000)
    plugin.enter(2, life=50_000)
    plugin.desk.left(1)
    assert plugin.desk.expired(NOW + 6_000) == []
    plugin.enter(2, life=90_000, now=NOW + 1)
    assert plugin.desk.expired(NOW + 60_000) == [], "the address was used again"


def test_two_ends_at_the_same_time_at_the_same_address() -> None:
    plugin = Plugin()
    assert [plugin.enter(), plugin.enter(), plugin.enter()] == [Answer.DEVICE] * 3


def test_a_revocation_ends_connections_that_are_here() -> None:
    plugin = Plugin()
    plugin.enter()
    assert plugin.desk.use(plugin.control, NOW) == []
    plugin.revocations.replace(1, [Revocation(ALICE, PHONE, 0, gone=True)])
    assert plugin.desk.use(plugin.control, NOW) == [CLIENT]
    assert plugin.enter(2) is Answer.REFUSED
    plugin.desk.left(1)
    assert plugin.desk.use(plugin.control, NOW) == []


def test_who_has_left_is_known_for_the_will_and_the_oldest_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MOST_LEFT", 2)
    plugin = Plugin()
    for client in (1, 2, 3):
        plugin.enter(client)
        plugin.desk.left(client)
    assert plugin.forgotten == [1]
    state = f"{OWN}/state/00"
    assert [plugin.may(client, Access.WRITE, state) for client in (1, 2, 3)] == [False, True, True]


def test_coming_and_going_leaves_a_bounded_number_of_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MOST_LEFT", 10)
    plugin = Plugin()
    token = tokens.issue(KEYS, Claims(ALICE, PHONE, "device", NOW, NOW + HOUR))
    for client in range(200):
        plugin.enter(client, password=token)
        plugin.desk.left(client)
    assert len(plugin.desk._ends) <= 12


def test_the_operator_enters_in_any_name_reads_and_publishes_nothing() -> None:
    plugin = Plugin(admitted=False)
    enter = plugin.desk.authenticate
    assert enter(1, CLIENT, OPERATOR, "wrong", NOW) is Answer.REFUSED
    assert enter(1, CLIENT, OPERATOR, "secret", NOW) is Answer.OURS
    assert plugin.may(1, Access.SUBSCRIBE, "$SYS/broker/clients/total")
    assert plugin.may(1, Access.READ, f"u/{ALICE}/in/msg"), "a queue is not thrown away by its look"
    assert not plugin.may(1, Access.SUBSCRIBE, f"u/{ALICE}/in/#")
    assert not plugin.may(1, Access.WRITE, f"{OWN}/do/00/heads")
