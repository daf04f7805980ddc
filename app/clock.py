"""Time and chance of a real process; everything below `app/` takes them as arguments."""

import os
import random
import secrets
import time

from tidings.protocol.ids import MessageId

jitter = random.random
"""A number in [0, 1), for spreading things; nothing secret rests on it."""

entropy = os.urandom
"""Random bytes for keys, codes and ids."""


def now_ms() -> int:
    """Tell the time, ms UTC."""
    return time.time_ns() // 1_000_000


def new_message_id() -> MessageId:
    """Make an id for a text that came without one."""
    return MessageId(secrets.token_hex(16))
