"""Tokens for the suite: a real key set, the real gate over it, and every kind of forgery."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acl.gate import TokenGate
from acl.keys import KeySet, load, make_key, save
from acl.revocations import Revocations
from acl.tokens import Claims, Verifier, issue
from stores.ports.accounts import Revocation
from tidings.protocol import ids, limits


def now():
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000


def make_token_gate(order):
    """Make the gate of a host process, and its `revoke`. No jitter: a test knows when a token ends."""
    revocations, revoke = make_revocations()
    return TokenGate(Verifier(load(Path(order["keys"]))), revocations, lambda: 0.0), revoke


def make_revocations():
    """Make a snapshot, and what adds to it."""
    revocations = Revocations()
    revocations.replace(0, [])
    known = []

    def revoke(command, at):
        cut = Revocation(command["user"], command["device"], command.get("tokens_from", at), command["gone"])
        known.append(cut)
        revocations.replace(len(known), known)

    return revocations, revoke


class Mint:
    """The key set of a site, and tokens by it."""

    def __init__(self, folder):
        self.keys = KeySet((make_key("ES256"), make_key("EdDSA")))
        self.path = folder / "keys.json"
        save(self.keys, self.path)

    def token(self, user, device, *, role="device", life=3_600_000, issued=None, keys=None, **claims):
        """Sign a token; `life` in ms from now."""
        at = now()
        body = Claims(user, device, role, issued if issued is not None else at, at + life, **claims)
        return issue(keys or self.keys, body)

    def person(self, lane="00"):
        """Make a user and a device."""
        return Person(self, ids.make_user_id(bytes.fromhex(lane) + secrets.token_bytes(10)), new_device())

    def forgeries(self, user, device):
        """Make one token of each kind that must not pass, by name."""
        at = now() // 1000
        good = {"sub": user, "device": device, "role": "device", "iat": at, "exp": at + 3600}
        key = self.keys.signing
        pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        true = self.token(user, device)
        head, body, signature = true.split(".")
        stranger = KeySet((make_key("ES256"),))
        lent = KeySet((type(key)(key.kid, stranger.signing.private),))
        return {
            "empty": "",
            "garbage": "\x00\ufffd.a.b",
            "expired": self.token(user, device, life=-1000, issued=now() - 3_600_000),
            "not yet issued": self.token(user, device, issued=now() + 600_000),
            "no signature": f"{head}.{body}.",
            "another's signature": f"{head}.{body}.{self.token(user, device, life=99_000).split('.')[2]}",
            "cut signature": f"{head}.{body}.{signature[:-4]}",
            "alg none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(good)}.",
            "alg none with our kid": f"{part({'alg': 'none', 'kid': key.kid})}.{part(good)}.",
            "HMAC with our public key": mac({"alg": "HS256", "kid": key.kid}, good, pem),
            "foreign key": self.token(user, device, keys=stranger),
            "foreign key with our kid": self.token(user, device, keys=lent),
            "EdDSA named, ES256 signed": f"{part({'alg': 'EdDSA', 'kid': key.kid})}.{body}.{signature}",
            "key in the header": f"{part({'alg': 'ES256', 'kid': key.kid, 'jwk': {}})}.{body}.{signature}",
            "changed claim": f"{head}.{part({**good, 'role': 'admin'})}.{signature}",
            "oversized": true + "A" * limits.TOKEN_BYTES,
            "unknown role": self.token(user, device, role="emperor"),
            "a bridge's role for a user": self.token(user, device, role="bridge"),
            "a service's role for a user": self.token(user, device, role="service"),
            "no role and no grants": self.token(user, device, role=""),
            **{f"without {name}": self._signed({**good, name: None}) for name in ("exp", "iat", "sub", "device")},
        }

    def _signed(self, claims):
        """Sign any claims with our own key."""
        from jwt import PyJWS

        kept = {name: value for name, value in claims.items() if value is not None}
        key = self.keys.signing
        return PyJWS().encode(json.dumps(kept).encode(), key.private, key.algorithm, headers={"kid": key.kid})


class Person:
    """A user with a device, and what the login answer would say."""

    def __init__(self, mint, user, device):
        self.mint, self.user, self.device = mint, user, device

    @property
    def client_id(self):
        return ids.client_id(self.user, self.device)

    @property
    def own(self):
        """Where this device publishes."""
        return f"u/{self.user}/{self.device}"

    @property
    def lane(self):
        return ids.lane_of(self.user)

    def token(self, **claims):
        return self.mint.token(self.user, self.device, **claims)

    def other_device(self):
        return Person(self.mint, self.user, new_device())


def new_device():
    return ids.make_device_id(secrets.token_bytes(6))


def part(value):
    """Encode a part of a JWS."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def mac(header, claims, secret):
    """Sign by HMAC, as an attacker who knows only a public key."""
    text = f"{part(header)}.{part(claims)}"
    return (
        f"{text}.{base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).rstrip(b'=').decode()}"
    )
