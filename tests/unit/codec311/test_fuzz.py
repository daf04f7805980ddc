"""Any bytes give a packet, None, or one of the two errors; and what was read is written and read again the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.embedded import codec311
from broker.embedded.packets import MalformedPacket, ProtocolViolation
from tests.unit.codec311.table import PACKETS

_RAW = [raw for _, raw in PACKETS.values() if len(raw) < 64]


def read(raw):
    """Read, with the declared errors as a value; any other exception is a bug."""
    try:
        return codec311.read(memoryview(raw))
    except (MalformedPacket, ProtocolViolation) as error:
        return error


@st.composite
def framed(draw):
    """Draw a body with a fixed header that fits it, so that the readers are reached."""
    body = draw(st.binary(max_size=60))
    return bytes((draw(st.integers(0, 255)), len(body))) + body


@st.composite
def mutated(draw):
    """Draw one of the table's packets with a few bytes changed, removed or added."""
    raw = bytearray(draw(st.sampled_from(_RAW)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(raw) - 1))
        match draw(st.sampled_from(("change", "remove", "add"))):
            case "change":
                raw[place] = draw(st.integers(0, 255))
            case "remove" if len(raw) > 1:
                del raw[place]
            case _:
                raw.insert(place, draw(st.integers(0, 255)))
    return bytes(raw)


@given(st.binary(max_size=80) | framed() | mutated())
def test_any_bytes_give_a_packet_or_nothing_or_a_declared_error(raw):
    found = read(raw)
    if isinstance(found, tuple):
        packet, size = found
        assert 2 <= size <= len(raw)
        again = codec311.write(packet)
        assert codec311.read(memoryview(again)) == (packet, len(again))


@given(st.binary(max_size=80) | framed() | mutated())
def test_more_bytes_never_change_what_was_read(raw):
    found = read(raw)
    if isinstance(found, tuple):
        assert read(raw + b"\xff") == found


@given(st.binary(max_size=80) | framed())
def test_protocol_level_has_one_error(raw):
    try:
        level = codec311.protocol_level(memoryview(raw))
    except (MalformedPacket, ProtocolViolation):
        return
    assert level is None or raw[0] == 0x10


@pytest.mark.parametrize("length", [0, 127, 128, 16383, 16384, 2097151, 2097152, 268435455])
def test_header_reads_every_length_at_the_edges_of_its_encoding(length):
    encoded, rest = bytearray(), length
    while rest > 127:
        encoded.append(rest % 128 | 128)
        rest //= 128
    encoded.append(rest)
    assert codec311.header(memoryview(b"\x30" + encoded)) == (0x30, 1 + len(encoded), length)
