"""The public key set: it verifies what the private one signed, cannot sign, and is refused when it is none."""

import pytest

from acl import jwks, tokens
from acl.keys import Algorithm, BadKeys, KeySet, make_key
from acl.tokens import Claims, Verifier
from tidings.protocol.errors import Refusal

NOW = 1_800_000_000_000
CLAIMS = Claims("alice", "phone", "device", NOW, NOW + 1_000)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_it_verifies_what_the_private_set_signed(algorithm: Algorithm) -> None:
    keys = KeySet((make_key(algorithm),))
    published = jwks.encode(keys)
    assert Verifier(jwks.decode(published)).verify(tokens.issue(keys, CLAIMS), NOW) == CLAIMS
    assert b'"d"' not in published, "the private half"


def test_another_sets_token_is_refused() -> None:
    with pytest.raises(Refusal):
        Verifier(jwks.decode(jwks.encode(KeySet((make_key(),))))).verify(
            tokens.issue(KeySet((make_key(),)), CLAIMS), NOW
        )


def test_a_rotated_out_key_verifies_until_its_time() -> None:
    old = KeySet((make_key(),))
    verifier = Verifier(jwks.decode(jwks.encode(old.rotated(make_key(), NOW, 500))))
    token = tokens.issue(old, CLAIMS)
    assert verifier.verify(token, NOW + 499) == CLAIMS
    with pytest.raises(Refusal):
        verifier.verify(token, NOW + 500)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}', b'{"keys": [3]}'])
def test_what_is_no_set_is_refused(raw: bytes) -> None:
    with pytest.raises(BadKeys):
        jwks.decode(raw)
