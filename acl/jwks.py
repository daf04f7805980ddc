"""The public halves of the key set as a JWK set (RFC 7517), for whoever verifies tokens and must not be able to sign.

Rules: the members are those of `KeySet.jwks`, and `until` (ms; 0 while the key is in use), which other readers ignore
(RFC 7517, section 4).
"""

import base64
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec import Struct

from acl.keys import Algorithm, BadKeys, KeySet, PublicKey


class VerifyingKey(Struct, frozen=True):
    """The public half of a key. It verifies until `until` (ms; 0 while it is in use)."""

    kid: str
    public: PublicKey
    until: int = 0

    @property
    def algorithm(self) -> Algorithm:
        """The one algorithm of this kind of key."""
        return "ES256" if isinstance(self.public, ec.EllipticCurvePublicKey) else "EdDSA"


class VerifyingKeySet(Struct, frozen=True):
    """All keys that count."""

    keys: tuple[VerifyingKey, ...]


def encode(keys: KeySet) -> bytes:
    """Write the public halves."""
    published = zip(keys.jwks()["keys"], keys.keys, strict=True)
    return msgspec.json.encode({"keys": [{**entry, "until": key.until} for entry, key in published]})


def decode(raw: bytes) -> VerifyingKeySet:
    """Read a JWK set. Raises `BadKeys` when it is none, or has no key."""
    try:
        keys = tuple(_key(entry) for entry in msgspec.json.decode(raw)["keys"])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError):
        raise BadKeys("this is not a JWK set of ours") from None
    if not keys:
        raise BadKeys("the JWK set has no key")
    return VerifyingKeySet(keys)


def _key(entry: dict[str, Any]) -> VerifyingKey:
    until = int(entry["until"]) if "until" in entry else 0
    match entry["kty"], entry["crv"]:
        case "EC", "P-256":
            x, y = (int.from_bytes(_unb64(entry[name]), "big") for name in ("x", "y"))
            point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
            return VerifyingKey(entry["kid"], point.public_key(), until)
        case "OKP", "Ed25519":
            return VerifyingKey(entry["kid"], ed25519.Ed25519PublicKey.from_public_bytes(_unb64(entry["x"])), until)
    raise ValueError(entry["kty"])


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
