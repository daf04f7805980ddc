"""Being seen, and whom to look at.

Rules: a device tells its state with the connection id of its will, so that a stale will marks nobody offline. A `watch`
lasts 60 s on the server; it is said again every 45 s, and after a reconnect at once.
"""

from collections.abc import Iterable
from typing import Final

from tidings.protocol import codec, ids, limits, topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, UserId
from tidings.protocol.payloads import DeviceState
from tidings.session.effects import Publish

AGAIN_MS: Final = 45_000


def state_of(user: UserId, device: DeviceId, status: str, connection: str) -> Publish:
    """Say that a device is `online`, `away` or `offline` (also as its will). `connection` is made new at each
    connect."""
    topic = topics.Presence(user, device, ids.lane_of(user))
    return Publish(topics.build(topic), codec.encode(DeviceState(status, connection)))


class Watching:
    """Whose presence is looked at, and when that is to be said again."""

    def __init__(self) -> None:
        self._users: tuple[UserId, ...] = ()
        self.due: int | None = None

    def look_at(self, users: Iterable[UserId], now: int) -> None:
        """Look at these from now on, and at nobody else. Raises `Refusal` when they are too many."""
        chosen = tuple(dict.fromkeys(users))
        if len(chosen) > limits.WATCHED_USERS:
            raise Refusal(Code.BAD_VALUE, f"at most {limits.WATCHED_USERS} users can be watched, not {len(chosen)}")
        self._users = chosen
        self.restart(now)

    def restart(self, now: int) -> None:
        """The connection is new."""
        self.due = now if self._users else None

    def take(self, now: int) -> tuple[UserId, ...]:
        """Take whom to watch now; empty when nothing is due."""
        if self.due is None or self.due > now:
            return ()
        self.due = now + AGAIN_MS
        return self._users
