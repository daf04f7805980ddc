"""Any bytes over WebSocket end their connection at worst; none is a defect."""

import random

import pytest

from broker.embedded.websocket import WebSocketProtocol

HELLO = (
    b"GET /mqtt HTTP/1.1\r\nHost: tidings\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class Ears:
    """The server's end: it keeps what it hears."""

    write_buffer = 1_024

    def __init__(self):
        self.heard = b""

    def opened(self, wire):
        return 1

    def received(self, number, data):
        self.heard += data

    def congested(self, number, on):
        raise AssertionError("nothing is written here that fills a buffer")

    def closed(self, number):
        raise AssertionError("nobody cuts it")


class Transport:
    """A socket that keeps what is written."""

    def __init__(self):
        self.written = b""
        self.is_open = True

    def set_write_buffer_limits(self, high):
        pass

    def write(self, data):
        self.written += data

    def close(self):
        self.is_open = False

    def abort(self):
        pass


def frame(code, data, *, first=0x80):
    """A masked frame, with the mask of zeros."""
    size = len(data)
    head = bytes([size | 0x80]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first | code]) + head + bytes(4) + data


def sent(*pieces):
    ears, transport = Ears(), Transport()
    protocol = WebSocketProtocol(ears)
    protocol.connection_made(transport)
    for piece in pieces:
        protocol.data_received(piece)
    return ears, transport


@pytest.mark.parametrize("name", [b"Connection", b"Host", b"Sec-WebSocket-Protocol", b"Upgrade"])
async def test_a_header_that_is_not_ascii_ends_the_connection(name):
    _, transport = sent(HELLO.replace(name + b": ", name + b": \xc3\x28"))
    assert not transport.is_open


async def test_frames_borders_mean_nothing():
    ears, transport = sent(HELLO, frame(2, b"ab", first=0), frame(9, b"ping"), frame(0, b"c"), frame(2, b"d"))
    assert ears.heard == b"abcd"
    assert transport.is_open
    assert b"ping" in transport.written


async def test_text_ends_the_connection():
    _, transport = sent(HELLO, frame(1, b"text") + frame(2, b"after"))
    assert not transport.is_open


@pytest.mark.parametrize("seed", range(300))
async def test_any_bytes_at_all(seed):
    chance = random.Random(seed)
    if seed % 2:
        hello = bytearray(HELLO)
        for _ in range(chance.randrange(1, 6)):
            hello[chance.randrange(len(hello))] = chance.randrange(256)
        sent(bytes(hello))
        return
    codes, firsts, sizes = (0, 1, 2, 2, 3, 8, 9, 10, 11), (0, 0x80, 0x80, 0xC0), (0, 1, 2, 125, 126, 300)
    frames = [
        frame(chance.choice(codes), chance.randbytes(chance.choice(sizes)), first=chance.choice(firsts))
        for _ in range(chance.randrange(1, 9))
    ]
    sent(HELLO, *frames)
