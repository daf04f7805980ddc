"""The gate: no token opens another's session, and what ends a connection."""

import pytest

from acl import tokens
from acl.decisions import Gate, Principal
from acl.gate import TokenGate, bridge_claims, service_claims
from acl.keys import KeySet, make_key
from acl.revocations import Revocations
from acl.tokens import Claims, Verifier
from stores.ports.accounts import Revocation
from tests.unit.acl.principals import bridge_principal
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Group

NOW = 1_800_000_000_000
HOUR = 3_600_000
ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(11, 22)))
PHONE = ids.make_device_id(b"phone1")
OTHER = ids.make_device_id(b"phone2")
KEYS = KeySet((make_key("EdDSA"),))


def token(user: str = ALICE, device: str = PHONE, role: str = "person", **more: object) -> bytes:
    return tokens.issue(KEYS, Claims(user, device, role, NOW, NOW + HOUR, **more)).encode()  # type: ignore[arg-type]


def gate(fraction: float = 0.0, revoked: tuple[Revocation, ...] = ()) -> tuple[Gate, Revocations]:
    revocations = Revocations()
    revocations.replace(1, list(revoked))
    return TokenGate(Verifier(KEYS), revocations, lambda: fraction), revocations


def code_of(client_id: str, username: str | None, password: bytes | None, now: int = NOW) -> Code:
    with pytest.raises(Refusal) as caught:
        gate()[0].authenticate(client_id, username, password, now)
    return caught.value.code


def enter(password: bytes | None = None, now: int = NOW, fraction: float = 0.0) -> Principal:
    return gate(fraction)[0].authenticate(f"{ALICE}:{PHONE}", ALICE, password or token(), now)


def test_a_device_enters_under_its_own_ids() -> None:
    principal = enter()
    assert (principal.user, principal.device, principal.role) == (ALICE, PHONE, "person")
    assert not principal.custodian
    assert principal.expires_at == NOW + HOUR


@pytest.mark.parametrize(
    ("client_id", "username"),
    [
        (f"{BOB}:{PHONE}", ALICE),
        (f"{ALICE}:{OTHER}", ALICE),
        (f"{ALICE}:{PHONE}", BOB),
        (f"{ALICE}:{PHONE}", None),
        (f"{ALICE}:{PHONE}", ""),
        (f"{ALICE}:{PHONE} ", ALICE),
        (f"{ALICE}:{PHONE}".upper(), ALICE),
        (ALICE, ALICE),
        ("", ALICE),
        ("bridge-0", ALICE),
        ("api-one", "api-one"),
        ("\ud800", ALICE),
    ],
)
def test_a_stolen_client_id_with_a_good_token_is_refused(client_id: str, username: str | None) -> None:
    assert code_of(client_id, username, token()) is Code.UNAUTHENTICATED


def test_without_a_token_nobody_enters() -> None:
    for password in (None, b"", b"secret", token()[:-1], token() + b"x"):
        assert code_of(f"{ALICE}:{PHONE}", ALICE, password) is Code.UNAUTHENTICATED
    assert code_of(f"{ALICE}:{PHONE}", ALICE, token(), NOW + HOUR) is Code.TOKEN_EXPIRED


@pytest.mark.parametrize("device", ["in", "out", "to", "do", "state", "+", "#", "d" + "0" * 8, "d" * 11, "d00000000/"])
def test_a_device_id_of_another_form_is_refused(device: str) -> None:
    assert code_of(f"{ALICE}:{device}", ALICE, token(device=device)) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("role", ["", "emperor", "bridge", "service"])
def test_a_user_has_no_role_of_ours_and_none_unknown(role: str) -> None:
    assert code_of(f"{ALICE}:{PHONE}", ALICE, token(role=role)) is Code.UNAUTHENTICATED


def test_a_token_may_live_by_its_claim_alone() -> None:
    principal = enter(token(role="", allow=(("publish", "a"),)))
    assert gate()[0].publish(principal, "a", retain=False, qos=1).allowed
    assert not gate()[0].subscribe(principal, f"u/{ALICE}/in/#").allowed


def test_our_own_processes_enter_under_their_forms() -> None:
    bridge = tokens.issue(KEYS, bridge_claims(Group("a"), NOW, HOUR)).encode()
    principal = gate()[0].authenticate("bridge-a", "bridge-a", bridge, NOW)
    assert principal.custodian
    assert principal.role == bridge_principal(Group("a")).role
    api = tokens.issue(KEYS, service_claims("web-1", NOW, HOUR)).encode()
    assert gate()[0].authenticate("api-web-1", "api-web-1", api, NOW).custodian
    for other in ("bridge-b", "bridge-a:x", "api-a"):
        assert code_of(other, other, bridge) is Code.UNAUTHENTICATED


@pytest.mark.parametrize(("user", "device"), [("bridge", "10"), ("bridge", "g"), (ALICE, "a"), ("api", "a")])
def test_a_bridge_token_names_a_lane_group(user: str, device: str) -> None:
    assert code_of(f"bridge-{device}", f"bridge-{device}", token(user, device, "bridge")) is Code.UNAUTHENTICATED


def test_expiry_comes_early_by_the_jitter_and_never_at_once() -> None:
    assert enter(fraction=0.5).expires_at == NOW + HOUR - 30_000
    late = enter(now=NOW + HOUR - 100, fraction=0.999)
    assert late.expires_at == NOW + HOUR - 9
    the_gate = gate()[0]
    principal = enter()
    assert not the_gate.is_void(principal, NOW + HOUR - 1)
    assert the_gate.is_void(principal, NOW + HOUR)


@pytest.mark.parametrize(
    ("cut", "void"),
    [
        (Revocation(ALICE, PHONE, 0, gone=True), True),
        (Revocation(ALICE, ids.DeviceId(""), 0, gone=True), True),
        (Revocation(ALICE, PHONE, NOW + 1, gone=False), True),
        (Revocation(ALICE, ids.DeviceId(""), NOW + 1, gone=False), True),
        (Revocation(ALICE, PHONE, NOW, gone=False), False),
        (Revocation(ALICE, OTHER, 0, gone=True), False),
        (Revocation(BOB, PHONE, 0, gone=True), False),
    ],
)
def test_revocation_ban_and_changed_grants_end_what_is_live_and_refuse_what_comes(cut: Revocation, void: bool) -> None:
    the_gate, revocations = gate()
    principal = the_gate.authenticate(f"{ALICE}:{PHONE}", ALICE, token(), NOW)
    revocations.replace(2, [cut])
    assert the_gate.is_void(principal, NOW) is void
    if void:
        with pytest.raises(Refusal) as caught:
            the_gate.authenticate(f"{ALICE}:{PHONE}", ALICE, token(), NOW)
        assert caught.value.code is Code.UNAUTHENTICATED
    else:
        the_gate.authenticate(f"{ALICE}:{PHONE}", ALICE, token(), NOW)


def test_before_revocations_are_read_nobody_enters() -> None:
    closed = TokenGate(Verifier(KEYS), Revocations(), lambda: 0.0)
    with pytest.raises(Refusal) as caught:
        closed.authenticate(f"{ALICE}:{PHONE}", ALICE, token(), NOW)
    assert caught.value.code is Code.UNAVAILABLE


def test_an_in_process_bridge_never_expires() -> None:
    assert not gate()[0].is_void(bridge_principal(Group("0")), 2**61)
