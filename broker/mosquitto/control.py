"""What the plugin must know beside tokens, as two files in the broker's folder: `control.json` and `jwks.json`.

Rules
- They are state, not commands: whoever reads them at any time knows all. So a broker that starts again needs nobody.
- They are replaced whole (rename), so that a reader sees the old ones or the new ones.
- Neither has a secret: the keys are public halves, the operator's password is a digest of a random one.
"""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from stores.ports.accounts import Revocation
from tidings.protocol.ids import Group

CONTROL: Final = "control.json"
JWKS: Final = "jwks.json"
OPERATOR: Final = "tidings-operator"
"""The operator's user name: it watches `$SYS`, and enters in the name of clients whose session is to be deleted."""


class BadControl(Exception):
    """The file cannot be read; the text is one line."""


class Control(Struct, frozen=True, kw_only=True):
    """`admitted`: may devices enter, once every bridge of `groups` has subscribed? `operator`: hex digest of the
    operator's password. `revocations`: all that could still matter, as of the store's `version`."""

    admitted: bool
    operator: str
    version: int = 0
    groups: tuple[Group, ...] = ()
    revocations: tuple[Revocation, ...] = ()


def digest_of(password: str) -> str:
    """Digest a random password of full entropy; a person's would need more than this."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).hexdigest()


def encode(control: Control) -> bytes:
    """Write as JSON."""
    return msgspec.json.encode(control)


def decode(raw: bytes) -> Control:
    """Read. Raises `BadControl`."""
    try:
        return msgspec.json.decode(raw, type=Control)
    except msgspec.MsgspecError as error:
        raise BadControl(f"{CONTROL} cannot be read: {error}") from None
