"""The wire form of every struct, and every limit at, under and over.

After a wanted change of the wire form: `python -m tests.unit.protocol.test_payloads` writes the golden files anew.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.protocol.examples import ATTACHMENT, BOB, CONV, EXAMPLES, ID, MESSAGE
from tidings.protocol import asyncapi, codec, commands, limits, payloads
from tidings.protocol.codec import Encoding
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import MessageId
from tidings.protocol.payloads import Message, SendMessage, SendReceipt

GOLDEN = Path(__file__).parent / "golden"
FORMS = tuple(
    each
    for module in (payloads, commands)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, payloads.Wire) and each is not payloads.Wire
)


def golden(example: payloads.Wire) -> dict[str, Any]:
    """Both encodings of an example: JSON as it reads, MessagePack in hex. A command's arguments are JSON, so it is."""
    packed = "" if isinstance(example, payloads.Command) else codec.encode(example, Encoding.MSGPACK).hex()
    return {"json": codec.encode(example).decode(), "msgpack": packed}


def refused(code: Code, message: SendMessage) -> None:
    with pytest.raises(Refusal) as caught:
        payloads.check_message(message)
    assert caught.value.code is code


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: type(each).__name__)
def test_the_wire_form_is_the_golden_one(example: payloads.Wire) -> None:
    fixed = json.loads((GOLDEN / f"{type(example).__name__}.json").read_text())
    assert golden(example) == fixed
    assert codec.decode(fixed["json"].encode(), type(example)) == example
    if fixed["msgpack"]:
        assert codec.decode(bytes.fromhex(fixed["msgpack"]), type(example)) == example


def test_every_struct_has_an_example_and_a_golden_file() -> None:
    assert {type(each) for each in EXAMPLES} == set(FORMS)
    assert {file.stem for file in GOLDEN.glob("*.json")} == {form.__name__ for form in FORMS}


def test_examples_set_every_field() -> None:
    for example in EXAMPLES:
        for field in msgspec.structs.fields(example):
            if field.default is not msgspec.NODEFAULT:
                assert getattr(example, field.name) != field.default, (type(example).__name__, field.name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: type(each).__name__)
def test_unknown_fields_are_ignored(example: payloads.Wire) -> None:
    said = json.loads(codec.encode(example)) | {"ofLaterTimes": {"x": [1, None]}}
    assert codec.decode(json.dumps(said, separators=(",", ":")).encode(), type(example)) == example


def test_unknown_kinds_are_kept() -> None:
    entry = replace(MESSAGE, kind="poll.opened")
    assert codec.decode(codec.encode(entry), Message).kind == "poll.opened"
    payloads.check_message(SendMessage(ID, "x", kind="poll"))


def test_replies_say_their_kind_and_are_told_apart_by_it() -> None:
    replies = payloads.HeadsReply | payloads.SyncReply | payloads.WatchReply
    for example in EXAMPLES:
        if isinstance(example, replies):
            assert msgspec.json.decode(codec.encode(example), type=replies) == example
    assert json.loads(codec.encode(Message(CONV, 1)))["kind"] == "text"


@pytest.mark.parametrize("form", FORMS, ids=lambda each: each.__name__)
@given(payload=st.binary(max_size=200) | st.builds(lambda raw: b"{" + raw, st.binary(max_size=100)))
def test_any_bytes_decode_or_are_refused(form: type[payloads.Wire], payload: bytes) -> None:
    try:
        assert isinstance(codec.decode(payload, form), form)
    except Refusal as refusal:
        assert refusal.code is Code.BAD_PAYLOAD  # noqa: PT017 - it need not be raised


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(sorted({field.encode_name for form in FORMS for field in msgspec.structs.fields(form)}))


@pytest.mark.parametrize("form", FORMS, ids=lambda each: each.__name__)
@given(said=st.dictionaries(names, json_values, max_size=8))
def test_any_object_decodes_in_both_encodings_or_is_refused(form: type[payloads.Wire], said: dict[str, Any]) -> None:
    for payload in (json.dumps(said).encode(), _packed(said)):
        try:
            value = codec.decode(payload, form)
        except Refusal as refusal:
            assert refusal.code is Code.BAD_PAYLOAD  # noqa: PT017 - it need not be raised
            continue
        if isinstance(value, SendMessage):
            _only_refuses(lambda value=value: payloads.check_message(value))  # type: ignore[misc]
        if isinstance(value, SendReceipt):
            _only_refuses(lambda value=value: payloads.check_receipt(value))  # type: ignore[misc]


def _packed(said: dict[str, Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(said)
    except (OverflowError, UnicodeEncodeError):
        return b"\x80"


def _only_refuses(check: Any) -> None:
    try:
        check()
    except Refusal:
        return


def test_deep_nesting_is_refused() -> None:
    deep = b'{"conv":"c","seq":1,"data":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(Refusal, match="badPayload"):
        codec.decode(deep, Message)


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"7", b'"x"', b"\x90", b"\xc0", b"\xff"])
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(Refusal, match="badPayload"):
        codec.decode(payload, SendMessage)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_packet_at_its_limit(over: int) -> None:
    payload = b'{"id":"x"}'.ljust(limits.PACKET_BYTES + over)
    if over <= 0:
        assert codec.decode(payload, SendMessage).id == "x"
        return
    with pytest.raises(Refusal, match="tooLarge"):
        codec.decode(payload, SendMessage)


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("char", ["x", "ü", "世", "👋"])
def test_a_text_at_its_limit_in_bytes(over: int, char: str) -> None:
    total, size = limits.TEXT_BYTES + over, len(char.encode())
    body = char * (total // size) + "x" * (total % size)
    assert len(body.encode()) == total
    if over <= 0:
        payloads.check_message(SendMessage(ID, body))
    else:
        refused(Code.TOO_LARGE, SendMessage(ID, body))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_counts_and_sizes_at_their_limits(over: int) -> None:
    changes: list[tuple[Code, SendMessage]] = [
        (Code.BAD_VALUE, SendMessage(ID, attachments=(ATTACHMENT,) * (limits.ATTACHMENTS + over))),
        (Code.BAD_VALUE, SendMessage(ID, "x", mentions=(BOB,) * (limits.MENTIONS + over))),
        (Code.BAD_VALUE, SendMessage(ID, "x", kind="k" * (32 + over))),
        *(
            (code, SendMessage(ID, attachments=(replace(ATTACHMENT, **change),)))
            for code, change in [
                (Code.TOO_LARGE, {"size": limits.ATTACHMENT_BYTES + over}),
                (Code.TOO_LARGE, {"thumbnail": b"x" * (limits.THUMBNAIL_BYTES + over)}),
                (Code.BAD_VALUE, {"name": "n" * (limits.NAME_CHARS + over)}),
                (Code.BAD_VALUE, {"type": "t" * (127 + over)}),
                (Code.BAD_VALUE, {"sha256": "0" * (64 + over)}),
            ]
        ),
    ]
    for code, message in changes:
        exact = message.attachments and len(message.attachments[0].sha256) < 64
        if over <= 0 and not exact:
            payloads.check_message(message)
        else:
            refused(code, message)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (Code.BAD_VALUE, SendMessage(ID)),
        (Code.BAD_VALUE, SendMessage(ID, "x", kind="")),
        (Code.BAD_VALUE, SendMessage(ID, "x", kind="tombstone")),
        (Code.BAD_VALUE, SendMessage(ID, "x", kind="group.created")),
        (Code.BAD_VALUE, SendMessage(ID, "x", reply_to=-1)),
        (Code.TOO_LARGE, SendMessage(ID, attachments=(replace(ATTACHMENT, size=-1),))),
        (Code.BAD_VALUE, SendMessage(ID, attachments=(replace(ATTACHMENT, width=-1),))),
        (Code.BAD_VALUE, SendMessage(ID, attachments=(replace(ATTACHMENT, duration=-1),))),
        (Code.BAD_VALUE, SendMessage(ID, attachments=(replace(ATTACHMENT, sha256="A" * 64),))),
        (Code.BAD_VALUE, SendMessage(ID, attachments=(replace(ATTACHMENT, type="a\nb"),))),
    ],
)
def test_what_no_message_may_be(code: Code, message: SendMessage) -> None:
    refused(code, message)


@pytest.mark.parametrize("length", [0, 1, 2, 254, 255, 256])
def test_a_name_has_1_to_255_characters(length: int) -> None:
    if 1 <= length <= 255:
        assert len(payloads.clean_name("n" * length)) == length
    else:
        with pytest.raises(Refusal, match="badValue"):
            payloads.clean_name("n" * length)


@pytest.mark.parametrize("most", [limits.STATUS_CHARS, limits.ABOUT_CHARS])
def test_other_texts_at_their_limits(most: int) -> None:
    for length in (0, most - 1, most):
        assert payloads.clean_text("x" * length, most=most, what="it") == "x" * length
    with pytest.raises(Refusal, match="badValue"):
        payloads.clean_text("x" * (most + 1), most=most, what="it")


def test_names_are_trimmed_normalised_and_free_of_control_characters() -> None:
    assert payloads.clean_name("  Zoe\u0308 ") == "Zoë"
    for bad in ("a\x00b", "a\nb", "a\u009fb", "\ud800"):
        with pytest.raises(Refusal, match="badValue"):
            payloads.clean_name(bad)


@given(text=st.text(max_size=300))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    try:
        clean = payloads.clean_name(text)
    except Refusal:
        return
    assert payloads.clean_name(clean) == clean


@pytest.mark.parametrize(
    ("from_", "to", "good"), [(0, 1, True), (5, 6, True), (0, 0, False), (-1, 1, False), (2, 1, False)]
)
def test_a_receipts_range_goes_forward(from_: int, to: int, good: bool) -> None:
    for kind in payloads.RECEIPT_KINDS:
        if good:
            payloads.check_receipt(SendReceipt(kind, from_, to))
        else:
            with pytest.raises(Refusal, match="badValue"):
                payloads.check_receipt(SendReceipt(kind, from_, to))
    with pytest.raises(Refusal, match="badValue"):
        payloads.check_receipt(SendReceipt("seen", 0, 1))


def test_a_text_that_cannot_be_said_is_refused_before_it_is_sent() -> None:
    for encoding in Encoding:
        with pytest.raises(Refusal, match="badPayload"):
            codec.encode(SendMessage(MessageId("x"), "\ud800"), encoding)


def test_the_document_describes_every_struct() -> None:
    described = json.loads(asyncapi.document())["components"]["schemas"]
    assert set(described) == {form.__name__ for form in FORMS}


if __name__ == "__main__":
    for each in EXAMPLES:
        text = json.dumps(golden(each), indent=2, ensure_ascii=False)
        (GOLDEN / f"{type(each).__name__}.json").write_text(text + "\n")
