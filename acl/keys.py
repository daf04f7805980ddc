"""The keys that sign tokens: made, kept, rotated, and published as a JWKS (RFC 7517).

Rules
- The key decides the algorithm: P-256 means ES256, Ed25519 means EdDSA. There are no others.
- A key's id is the beginning of its RFC 7638 thumbprint: it says which key it is and nothing else.
- The newest key signs; those before it verify until `until`, so a rotation cuts nobody off (overlap = the longest
  token).
- The file holds private keys and is made with mode 0600; one that others may read is refused.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec import Struct

from acl.private import write_private

Algorithm = Literal["ES256", "EdDSA"]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_KID_CHARS: Final = 12
_FOREVER: Final = 0


class BadKeys(Exception):
    """The key file cannot be used; the text is one line for the operator."""


class Key(Struct, frozen=True):
    """One signing key. It verifies until `until` (ms; 0 while it is in use)."""

    kid: str
    private: PrivateKey
    until: int = _FOREVER

    @property
    def algorithm(self) -> Algorithm:
        """The one algorithm of this kind of key."""
        return "ES256" if isinstance(self.private, ec.EllipticCurvePrivateKey) else "EdDSA"

    @property
    def public(self) -> PublicKey:
        """The half that verifies."""
        return self.private.public_key()


class KeySet(Struct, frozen=True):
    """All keys that count, newest first; the first one signs."""

    keys: tuple[Key, ...]

    @property
    def signing(self) -> Key:
        """The key that signs from now on."""
        return self.keys[0]

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Tell the public halves as a JWK set (RFC 7517, section 5)."""
        return {"keys": [{**_public_jwk(key.public), "kid": key.kid, "alg": key.algorithm} for key in self.keys]}

    def rotated(self, fresh: Key, now: int, overlap: int) -> "KeySet":
        """Let `fresh` sign; its predecessor verifies for another `overlap` ms; what has run out is dropped."""
        kept = [key for key in self.keys if key.until == _FOREVER or key.until > now]
        aged = [Key(key.kid, key.private, key.until or now + overlap) for key in kept if key.kid != fresh.kid]
        return KeySet((fresh, *aged))


def make_key(algorithm: Algorithm = "ES256") -> Key:
    """Make a new key (the operating system's randomness)."""
    if algorithm == "ES256":
        return _named(ec.generate_private_key(ec.SECP256R1()))
    return _named(ed25519.Ed25519PrivateKey.generate())


def load_or_make(path: Path, algorithm: Algorithm = "ES256") -> KeySet:
    """Load the key set, or make one at the first start. Raises `BadKeys`."""
    if path.exists():
        return load(path)
    keys = KeySet((make_key(algorithm),))
    save(keys, path)
    return keys


def save(keys: KeySet, path: Path) -> None:
    """Write the private key set durably, mode 0600: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps({"keys": [_private_jwk(key) for key in keys.keys]}).encode())


def load(path: Path) -> KeySet:
    """Read a private key set. Raises `BadKeys` when others may read it, or it is damaged."""
    if path.stat().st_mode & 0o077:
        raise BadKeys(f"{path} may be read by others; run: chmod 600 {path}")
    try:
        keys = tuple(_from_jwk(entry) for entry in msgspec.json.decode(path.read_bytes())["keys"])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError):
        raise BadKeys(f"{path} is not a key set; restore it, or remove it and everybody logs in again") from None
    if not keys:
        raise BadKeys(f"{path} has no key; restore it, or remove it and everybody logs in again")
    return KeySet(keys)


def _named(private: PrivateKey, until: int = _FOREVER) -> Key:
    canonical = json.dumps(_public_jwk(private.public_key()), separators=(",", ":"), sort_keys=True)
    return Key(_b64(hashlib.sha256(canonical.encode()).digest())[:_KID_CHARS], private, until)


def _public_jwk(public: PublicKey) -> dict[str, str]:
    """The required members alone, as the thumbprint wants them (RFC 7638, 3.2; RFC 8037, 2)."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        x, y = (_b64(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    return {"crv": "Ed25519", "kty": "OKP", "x": _b64(public.public_bytes_raw())}


def _private_jwk(key: Key) -> dict[str, Any]:
    if isinstance(key.private, ec.EllipticCurvePrivateKey):
        secret = key.private.private_numbers().private_value.to_bytes(32, "big")
    else:
        secret = key.private.private_bytes_raw()
    return {**_public_jwk(key.public), "d": _b64(secret), "until": key.until}


def _from_jwk(entry: dict[str, Any]) -> Key:
    secret = _unb64(entry["d"])
    if entry["kty"] == "EC" and entry["crv"] == "P-256":
        return _named(ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1()), int(entry["until"]))
    if entry["kty"] == "OKP" and entry["crv"] == "Ed25519":
        return _named(ed25519.Ed25519PrivateKey.from_private_bytes(secret), int(entry["until"]))
    raise ValueError(entry["kty"])


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
