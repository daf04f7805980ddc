"""Bytes to structs and back: JSON or MessagePack, told apart by the first byte.

Rules
- A JSON payload starts with `{` or white space, a MessagePack map with 0x80–0x8f, 0xde or 0xdf; neither can be the
  other.
- Any bytes decode to a value or raise `Refusal(badPayload | tooLarge)`, nothing else (fuzzed).
- What is fanned out to many is JSON; what answers one device has the encoding of its request.
"""

import enum
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal


class Encoding(enum.Enum):
    """The two encodings; the value is the MQTT 5 content type."""

    JSON = "application/json"
    MSGPACK = "application/msgpack"


_JSON_STARTS: Final = frozenset(b"{ \t\r\n")
_MSGPACK_STARTS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))

T = TypeVar("T", bound=msgspec.Struct)

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encoding_of(payload: bytes) -> Encoding:
    """Tell the encoding by the first byte. Raises `Refusal(badPayload)` when it is neither."""
    if payload and payload[0] in _JSON_STARTS:
        return Encoding.JSON
    if payload and payload[0] in _MSGPACK_STARTS:
        return Encoding.MSGPACK
    raise Refusal(Code.BAD_PAYLOAD, "a payload is a JSON object or a MessagePack map")


def decode(payload: bytes, form: type[T]) -> T:
    """Decode a payload of either encoding. Raises `Refusal(badPayload | tooLarge)`."""
    if len(payload) > limits.PACKET_BYTES:
        raise Refusal(Code.TOO_LARGE, f"a payload has at most {limits.PACKET_BYTES} bytes")
    try:
        value: T = _decoder(encoding_of(payload), form).decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(Code.BAD_PAYLOAD, f"not a {form.__name__}: {str(error)[:200]}") from None
    return value


def encode(value: msgspec.Struct, encoding: Encoding = Encoding.JSON) -> bytes:
    """Encode a struct. A text with lone surrogates cannot be said: `Refusal(badPayload)`."""
    try:
        return _json.encode(value) if encoding is Encoding.JSON else _msgpack.encode(value)
    except UnicodeEncodeError:
        raise Refusal(Code.BAD_PAYLOAD, "the text is not valid Unicode") from None


@cache
def _decoder(encoding: Encoding, form: type[T]) -> Any:
    if encoding is Encoding.JSON:
        return msgspec.json.Decoder(form)
    return msgspec.msgpack.Decoder(form)
