"""What each role may say where: a table of expectations, deny by default."""

import pytest

from acl import filters, grants
from acl.decisions import Principal
from acl.roles import ROLES
from tests.unit.acl.principals import bridge_principal, service_principal
from tidings.protocol import ids, topics
from tidings.protocol.ids import DeviceId, Group, UserId

ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(11, 22)))
PHONE = ids.make_device_id(b"phone1")
OTHER = ids.make_device_id(b"phone2")
CONV = ids.direct_conversation(ALICE, BOB)


def principal(role: str = "person", **fields: object) -> Principal:
    return Principal(
        user=ALICE,
        device=PHONE,
        role=role,
        client_id=f"{ALICE}:{PHONE}",
        username=ALICE,
        issued_at=0,
        expires_at=1,
        **fields,  # type: ignore[arg-type]
    )


PUBLISHES = [
    (f"u/{ALICE}/{PHONE}/out/{CONV[2:4]}/{CONV}/msg", True),
    (f"u/{ALICE}/{PHONE}/to/00/{BOB}", True),
    (f"u/{ALICE}/{PHONE}/to/00/{BOB}/id-1", True),
    (f"u/{ALICE}/{PHONE}/do/00/heads", True),
    (f"u/{ALICE}/{PHONE}/state/00", True),
    (f"u/{ALICE}/{PHONE}/state", False),
    (f"u/{ALICE}/{PHONE}/state/00/x", False),
    (f"u/{ALICE}/{PHONE}/in/msg", False),
    (f"u/{ALICE}/{OTHER}/out/00/{CONV}/msg", False),
    (f"u/{ALICE}/in/msg", False),
    (f"u/{BOB}/{PHONE}/out/00/{CONV}/msg", False),
    (f"u/{BOB}/in/msg", False),
    (f"u/{ALICE}/{PHONE}/outside", False),
    ("ch/news", False),
    ("s/00/do", False),
    ("s/api/one/re", False),
    ("$SYS/x", False),
    (f"$share/g/u/{ALICE}/{PHONE}/out/x", False),
    (f"u/{ALICE}/{PHONE}/out/#", False),
    (f"u/{ALICE}/{PHONE}/out/+/x", False),
    ("", False),
    ("#", False),
]

SUBSCRIBES = [
    (f"u/{ALICE}/in/#", True),
    (f"u/{ALICE}/in/msg", True),
    (f"u/{ALICE}/in/+", True),
    (f"u/{ALICE}/{PHONE}/in/#", True),
    ("ch/news", True),
    ("ch/+", True),
    ("ch/#", False),
    ("#", False),
    ("+", False),
    ("+/#", False),
    ("u/#", False),
    ("u/+/in/#", False),
    (f"u/{ALICE}/#", False),
    (f"u/{ALICE}/+/in/#", False),
    (f"u/{ALICE}/{PHONE}/#", False),
    (f"u/{ALICE}/{PHONE}/out/#", False),
    (f"u/{ALICE}/{OTHER}/in/#", False),
    (f"u/{BOB}/in/#", False),
    ("s/#", False),
    ("s/+/do", False),
    ("$SYS/#", False),
    (f"$share/g/u/{ALICE}/in/#", False),
    ("$share/g/#", False),
    ("", False),
    ("a/#/b", False),
]


@pytest.mark.parametrize("role", ["device", "person"])
@pytest.mark.parametrize(("topic", "allowed"), PUBLISHES)
def test_a_device_publishes_only_its_own(role: str, topic: str, allowed: bool) -> None:
    decision = grants.may_publish(principal(role), topic, retain=False, qos=1)
    assert decision.allowed is allowed, decision.rule


@pytest.mark.parametrize("role", ["device", "person"])
@pytest.mark.parametrize(("wanted", "allowed"), SUBSCRIBES)
def test_a_device_subscribes_only_its_own(role: str, wanted: str, allowed: bool) -> None:
    decision = grants.may_subscribe(principal(role), wanted)
    assert decision.allowed is allowed, decision.rule


def test_the_login_answers_filters_are_granted() -> None:
    assert all(grants.may_subscribe(principal(), f).allowed for f in topics.device_subscriptions(ALICE, PHONE))


def test_retain_and_qos_2_are_denied() -> None:
    topic = f"u/{ALICE}/{PHONE}/state/00"
    assert not grants.may_publish(principal(), topic, retain=True, qos=0).allowed
    assert not grants.may_publish(principal(), topic, retain=False, qos=2).allowed
    assert grants.may_publish(principal(), topic, retain=False, qos=0).allowed


def test_an_unknown_role_may_nothing() -> None:
    nobody = principal("emperor")
    assert not any(grants.may_publish(nobody, topic, retain=False, qos=0).allowed for topic, _ in PUBLISHES)
    assert not any(grants.may_subscribe(nobody, wanted).allowed for wanted, _ in SUBSCRIBES)


def test_a_bridge_owns_its_lanes_and_no_others() -> None:
    three, four = bridge_principal(Group("3")), bridge_principal(Group("4"))
    wanted = topics.bridge_subscriptions(Group("3"))
    assert all(grants.may_subscribe(three, one).allowed for one in wanted)
    assert not any(grants.may_subscribe(four, one).allowed for one in wanted)
    assert not grants.may_subscribe(three, "u/+/+/out/+/+/+").allowed
    for topic in (f"u/{ALICE}/in/msg", f"u/{ALICE}/{PHONE}/in/error", "ch/news", "s/api/one/re", "s/40/do"):
        assert grants.may_publish(three, topic, retain=False, qos=1).allowed
    assert not grants.may_publish(three, f"u/{ALICE}/{PHONE}/out/30/{CONV}/msg", retain=False, qos=1).allowed


def test_a_service_commands_and_reads_its_own_replies() -> None:
    service = service_principal("web-1")
    assert service.custodian
    assert grants.may_publish(service, "s/7f/do", retain=False, qos=1).allowed
    assert grants.may_subscribe(service, "s/api/web-1/re").allowed
    assert not grants.may_subscribe(service, "s/api/web-2/re").allowed
    assert not grants.may_subscribe(service, "s/api/+/re").allowed
    assert not grants.may_publish(service, f"u/{ALICE}/in/msg", retain=False, qos=1).allowed


def test_an_admin_looks_at_the_system_and_at_nobodys_messages() -> None:
    admin = principal("admin")
    assert grants.may_subscribe(admin, "$SYS/#").allowed
    assert not grants.may_subscribe(admin, f"u/{ALICE}/in/#").allowed
    assert not grants.may_subscribe(admin, "#").allowed
    assert not grants.may_publish(admin, "s/00/do", retain=False, qos=0).allowed


def test_a_claim_grants_beyond_the_role() -> None:
    token = principal(allow=(("subscribe", "weather/#"), ("all", "shared/x")))
    assert grants.may_subscribe(token, "weather/north").allowed
    assert grants.may_publish(token, "shared/x", retain=False, qos=1).allowed
    assert not grants.may_publish(token, "weather/north", retain=False, qos=1).allowed


def test_deny_wins_over_every_allow() -> None:
    token = principal(allow=(("all", "a/#"),), deny=(("all", "a/secret"), ("publish", f"u/{ALICE}/{PHONE}/to/#")))
    assert grants.may_subscribe(token, "a/open").allowed
    assert not grants.may_subscribe(token, "a/secret").allowed
    assert not grants.may_subscribe(token, "a/#").allowed, "a wildcard that touches a deny would deliver it"
    assert not grants.may_publish(token, f"u/{ALICE}/{PHONE}/to/00/{BOB}", retain=False, qos=1).allowed


def test_a_shared_subscription_cannot_slip_past_a_deny() -> None:
    token = principal(allow=(("subscribe", "$share/g/#"),), deny=(("subscribe", "a/secret"),))
    assert grants.may_subscribe(token, "$share/g/a/open").allowed
    assert not grants.may_subscribe(token, "$share/g/a/+").allowed


def test_every_decision_names_its_rule() -> None:
    decision = grants.may_subscribe(principal(), f"u/{ALICE}/in/#")
    assert decision.rule == "role person: allow subscribe u/{user}/in/#"
    assert grants.may_subscribe(principal(), "#").rule.startswith("default")


def test_a_device_id_is_never_a_topic_word() -> None:
    for word in ("in", "out", "to", "do", "state"):
        with pytest.raises(Exception, match="badId"):
            ids.device_id(word)
    assert set(ROLES) == {"device", "person", "bridge", "service", "admin"}
    assert isinstance(ALICE, str)
    assert UserId(ALICE) != DeviceId(PHONE)


@pytest.mark.parametrize(
    ("rest", "heard"),
    [
        ("out/00/conv/msg", True),
        ("to/ff/peer", True),
        ("to/ff/peer/id", True),
        ("do/a0/heads", True),
        ("state/a0", True),
        ("out/zz/conv/msg", False),
        ("out/0/conv/msg", False),
        ("out/00/conv", False),
        ("out/00/conv/msg/more", False),
        ("do/00/a/b", False),
        ("state/zz", False),
        ("state/A0", False),
    ],
)
def test_what_no_bridge_hears_is_denied_since_nobody_would_keep_it(rest: str, heard: bool) -> None:
    who = principal()
    topic = f"u/{who.user}/{who.device}/{rest}"
    assert grants.may_publish(who, topic, retain=False, qos=1).allowed is heard
    subscribed = any(
        filters.matches(pattern, topic) for group in ids.GROUPS for pattern in topics.bridge_subscriptions(group)
    )
    assert subscribed is heard
