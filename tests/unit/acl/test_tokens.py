"""Tokens: what verifies, what does not, and that nothing but a refusal comes out for any bytes."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl import tokens
from acl.keys import Algorithm, Key, KeySet, make_key
from acl.tokens import Claims, Verifier
from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal

NOW = 1_800_000_000_123
KEY = make_key("ES256")
KEYS = KeySet((KEY,))
CLAIMS = Claims("0000u" + "0" * 16, "d" + "0" * 9, "person", NOW, NOW + 3_600_000)
GOOD = tokens.issue(KEYS, CLAIMS)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: object, key: Key = KEY, **header: object) -> str:
    """Sign any payload whatever, as an issuer with our key but other ideas would."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return tokens._jws.encode(raw, key.private, key.algorithm, headers={"kid": key.kid, **header})


def body(**changes: object) -> dict[str, Any]:
    claims = {"sub": CLAIMS.user, "device": CLAIMS.device, "role": "person", "iat": 1_800_000_000, "exp": 1_800_003_600}
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def refused(token: str | bytes, now: int = NOW, keys: KeySet = KEYS) -> Code:
    with pytest.raises(Refusal) as caught:
        Verifier(keys).verify(token, now)
    return caught.value.code


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_what_was_issued_verifies(algorithm: Algorithm) -> None:
    keys = KeySet((make_key(algorithm),))
    claims = Claims(
        "0000u" + "0" * 16,
        "d" + "0" * 9,
        "person",
        NOW,
        1_800_003_600_000,
        (("all", "a/#"),),
        (("publish", "a/b"),),
    )
    assert Verifier(keys).verify(tokens.issue(keys, claims), NOW) == claims


def test_a_device_token_is_short() -> None:
    assert len(GOOD) <= 400
    assert "acl" not in json.loads(base64.urlsafe_b64decode(GOOD.split(".")[1] + "=="))


def test_expiry_is_checked_at_every_use() -> None:
    verifier = Verifier(KEYS)
    end = (CLAIMS.expires_at // 1000) * 1000
    assert verifier.verify(GOOD, end - 1).device == CLAIMS.device
    with pytest.raises(Refusal) as caught:
        verifier.verify(GOOD, end)
    assert caught.value.code is Code.TOKEN_EXPIRED


@pytest.mark.parametrize("name", ["exp", "iat", "sub", "device"])
def test_each_required_claim_is_required(name: str) -> None:
    assert refused(signed(body(**{name: None}))) is Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "never"},
        {"exp": 1_800_000_000},
        {"exp": -1},
        {"exp": 1e300},
        {"exp": True},
        {"iat": 1_800_000_300},
        {"sub": ""},
        {"sub": 7},
        {"device": ["d"]},
        {"device": "x" * 65},
        {"role": {}},
        {"acl": "everything"},
        {"acl": [7]},
        {"acl": [{"permission": "allow", "action": "publish"}]},
        {"acl": [{"permission": "maybe", "action": "publish", "topic": "a"}]},
        {"acl": [{"permission": "allow", "action": "fly", "topic": "a"}]},
        {"acl": [{"permission": "allow", "action": [], "topic": "a"}]},
        {"acl": [{"permission": "allow", "action": "publish", "topic": "a/#/b"}]},
        {"acl": [{"permission": "allow", "action": "publish", "topic": 1}]},
        {"acl": [{"permission": "allow", "action": "all", "topic": "a"}] * 65},
        {"acl": {"pub": "a"}},
    ],
)
def test_wrong_claims_are_refused_though_signed_by_us(changes: dict[str, object]) -> None:
    assert refused(signed(body(**changes))) is Code.UNAUTHENTICATED


def test_a_payload_that_is_no_object_is_refused() -> None:
    for raw in (b"[]", b"null", b'"x"', b"", b"\xff", b"[" * 5_000, b'{"exp": NaN}'):
        assert refused(signed(raw)) is Code.UNAUTHENTICATED


def test_unsigned_tokens_are_refused() -> None:
    payload = GOOD.split(".")[1]
    for algorithm in ("none", "None", "NONE", ""):
        header = b64(json.dumps({"alg": algorithm, "kid": KEY.kid}).encode())
        assert refused(f"{header}.{payload}.") is Code.UNAUTHENTICATED


def test_the_public_key_is_no_shared_secret() -> None:
    """RFC 8725, 2.1: a token signed HS256 with the bytes of our public key."""
    point = KEYS.jwks()["keys"][0]
    for secret in (json.dumps(point).encode(), base64.urlsafe_b64decode(point["x"] + "=")):
        head = f"{b64(json.dumps({'alg': 'HS256', 'kid': KEY.kid}).encode())}.{GOOD.split('.')[1]}"
        signature = b64(hmac.new(secret, head.encode(), hashlib.sha256).digest())
        assert refused(f"{head}.{signature}") is Code.UNAUTHENTICATED


def test_the_key_decides_the_algorithm() -> None:
    other = make_key("EdDSA")
    both = KeySet((KEY, other))
    posing = tokens._jws.encode(json.dumps(body()).encode(), other.private, "EdDSA", headers={"kid": KEY.kid})
    assert refused(posing, keys=both) is Code.UNAUTHENTICATED


def test_a_foreign_key_is_refused_even_under_our_kid() -> None:
    foreign = make_key()
    assert refused(signed(body(), foreign)) is Code.UNAUTHENTICATED
    assert refused(signed(body(), foreign, kid=KEY.kid)) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("header", [{"jku": "https://example.org"}, {"crit": ["exp"]}, {"x": 1}, {"kid": "unknown"}])
def test_other_headers_are_refused(header: dict[str, object]) -> None:
    assert refused(signed(body(), KEY, **header)) is Code.UNAUTHENTICATED


def test_the_size_is_bounded_before_anything_is_read() -> None:
    room = limits.TOKEN_BYTES - len(signed(body(pad="")))
    fits = signed(body(pad="x" * (room * 3 // 4 - 4)))
    assert len(fits) <= limits.TOKEN_BYTES
    assert Verifier(KEYS).verify(fits, NOW).user == CLAIMS.user
    assert refused(signed(body(pad="x" * limits.TOKEN_BYTES))) is Code.UNAUTHENTICATED
    assert refused(b"." * 10_000_000) is Code.UNAUTHENTICATED


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(raw: bytes) -> None:
    assert refused(raw) is Code.UNAUTHENTICATED


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_three_segments_are_refused(header: str, payload: str, signature: str) -> None:
    assert refused(f"{header}.{payload}.{signature}") is Code.UNAUTHENTICATED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit", "b64", "zip")), JSON), st.binary(max_size=80))
def test_any_header_is_refused(header: dict[str, object], payload: bytes) -> None:
    assert refused(f"{b64(json.dumps(header).encode())}.{b64(payload)}.{b64(b'x' * 64)}") is Code.UNAUTHENTICATED


@given(st.dictionaries(st.sampled_from(("exp", "iat", "sub", "device", "role", "acl")), JSON))
def test_any_claims_signed_by_us_verify_or_are_refused(changes: dict[str, object]) -> None:
    try:
        claims = Verifier(KEYS).verify(signed({**body(), **changes}), NOW)
    except Refusal as refusal:
        assert refusal.code in (Code.UNAUTHENTICATED, Code.TOKEN_EXPIRED)  # noqa: PT017
    else:
        assert isinstance(claims, Claims)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 127))
def test_any_changed_byte_is_refused(place: int, change: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[place] ^= change
    try:
        assert Verifier(KEYS).verify(bytes(raw), NOW) is None, "only another spelling of the same bits may verify"
    except Refusal as refusal:
        assert refusal.code is Code.UNAUTHENTICATED  # noqa: PT017
    except AssertionError:
        pad = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
        assert [pad(part) for part in raw.decode().split(".")] == [pad(part) for part in GOOD.split(".")]


def test_emqx_rules_are_understood() -> None:
    rules = [
        {"permission": "deny", "action": "publish", "topic": "eq a/b"},
        {"permission": "allow", "action": "all", "topic": "home/${username}/#"},
        {"permission": "allow", "action": "subscribe", "topic": "dev/${clientid}"},
    ]
    claims = Verifier(KEYS).verify(signed(body(acl=rules)), NOW)
    assert claims.deny == (("publish", "a/b"),)
    assert claims.allow == (
        ("all", f"home/{CLAIMS.user}/#"),
        ("subscribe", f"dev/{CLAIMS.user}:{CLAIMS.device}"),
    )
    older = Verifier(KEYS).verify(signed(body(acl={"pub": ["x"], "sub": ["y"], "all": ["z"]})), NOW)
    assert older.allow == (("publish", "x"), ("subscribe", "y"), ("all", "z"))


def test_conditions_are_read_for_safety() -> None:
    rules = [
        {"permission": "allow", "action": "publish", "topic": "a", "qos": [0]},
        {"permission": "deny", "action": "publish", "topic": "b", "retain": True},
    ]
    claims = Verifier(KEYS).verify(signed(body(acl=rules)), NOW)
    assert claims.allow == ()
    assert claims.deny == (("publish", "b"),)


def test_the_cache_is_bounded_and_dies_with_its_keys() -> None:
    verifier = Verifier(KEYS, cached=2)
    for device in "abc":
        verifier.verify(token := signed(body(device=device)), NOW)
    assert len(verifier._known) == 2
    verifier.use(KeySet((make_key(),)))
    with pytest.raises(Refusal):
        verifier.verify(token, NOW)


def test_rotation_overlaps() -> None:
    fresh = make_key("EdDSA")
    keys = KEYS.rotated(fresh, NOW, overlap=1_000)
    verifier = Verifier(keys)
    assert keys.signing is fresh
    assert verifier.verify(GOOD, NOW + 999).user == CLAIMS.user
    with pytest.raises(Refusal):
        verifier.verify(GOOD, NOW + 1_000)
    assert keys.rotated(make_key(), NOW + 1_000, overlap=1).keys[-1].kid == fresh.kid
