"""Verification codes: six digits, sent by SMS, kept only as a keyed hash.

Rules (the numbers are the product's)
- A code lives 5 minutes and has 3 tries; a number gets 3 an hour, an address 30 an hour.
- The hash is keyed and covers the verification's id: a stolen table tells no code, and a code fits one verification.
- Registering does the same work and gives the same answer whether or not the number has an account.
"""

import hashlib
import hmac
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import phonenumbers

from tidings.protocol.errors import Code, Refusal

DIGITS: Final = 6
LIFETIME_MS: Final = 300_000
TRIES: Final = 3
HOUR_MS: Final = 3_600_000
AN_HOUR_PER_PHONE: Final = 3
AN_HOUR_PER_ADDRESS: Final = 30


def make_code(entropy: bytes) -> str:
    """Make a code of 16 random bytes: so many that no digit is likelier than another by more than 2^-100."""
    return f"{int.from_bytes(entropy[:16], 'big') % 10**DIGITS:0{DIGITS}d}"


def hash_code(secret: bytes, verification: str, code: str) -> bytes:
    """Hash a code for keeping (HMAC-SHA-256)."""
    return hmac.new(secret, f"{verification}\0{code}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def is_code(secret: bytes, verification: str, code: str, kept: bytes) -> bool:
    """Tell in constant time whether this is the code."""
    return hmac.compare_digest(hash_code(secret, verification, code), kept)


def phone_number(text: str) -> str:
    """Check a phone number and tell it in E.164, as `+4915112345678`. Raises `Refusal(badValue)`."""
    try:
        number = phonenumbers.parse(text[:40], None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Refusal(Code.BAD_VALUE, "phoneNumber: write it with + and country code, as +4915112345678")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def address_key(host: str) -> str:
    """Tell what counts as one address: an IPv4 address, or the /64 network of an IPv6 one, which one site owns."""
    address = _address(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return str(address or host[:64])


def is_loopback(host: str) -> bool:
    """Tell whether a request came from this machine."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
