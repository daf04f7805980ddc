"""Presence of the users of one lane group: state by user, device and connection id, told to those who look.

Rules (design, section 4)
- A device's state counts for the connection that said it. `offline` of another connection than the last is a stale
  will, and changes nothing.
- A user is online when one of its devices is, else away when one is, else offline.
- It is told to watchers alone, for 60 s from their last `watch`; the first change at once, later ones of the same user
  merged to one per 2 s.
- Last seen is the time of a user's last sign of life; it is handed out in batches to be kept durably.
- Bounded: users, devices a user, watchers a user. The longest unheard of is forgotten first, and counts as offline.
- It is soft state: after a restart a user is offline until a device tells its state again.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from tidings.protocol import limits
from tidings.protocol.ids import DeviceId, UserId
from tidings.protocol.payloads import DeviceState, PresenceNotice

MERGED_MS: Final = 2_000
SEEN_EVERY_MS: Final = 10_000
USERS: Final = 100_000
DEVICES: Final = 16
WATCHERS: Final = 1_000
_WATCH_MS: Final = limits.WATCH_LASTS_SECONDS * 1000


class _User(Struct, eq=False):
    devices: dict[DeviceId, DeviceState]
    watchers: dict[UserId, int]  # until when (steady ms)
    told: str = "offline"
    next_at: int = 0  # when (steady ms) the next change may be told
    last_seen: int = 0  # ms UTC


class Told(Struct, frozen=True):
    """A notice and whom to tell."""

    notice: PresenceNotice
    watchers: tuple[UserId, ...]


class PresenceTable:
    """See the module's rules. `wall` is ms UTC, `now` steady ms."""

    def __init__(self, users: int = USERS) -> None:
        self._most = users
        self._users: OrderedDict[UserId, _User] = OrderedDict()
        self._late: dict[UserId, None] = {}
        self._seen: dict[UserId, int] = {}
        self._seen_at = 0

    def appear(self, user: UserId, device: DeviceId, state: DeviceState, wall: int, now: int) -> Told | None:
        """Take a device's state in; tells what to tell at once."""
        entry = self._entry(user)
        before = entry.devices.get(device)
        if state.status == "offline":
            if before is None or before.connection != state.connection:
                return None  # a stale will: a newer connection lives, or none was known
            del entry.devices[device]
        else:
            entry.devices.pop(device, None)
            entry.devices[device] = state
            if len(entry.devices) > DEVICES:
                del entry.devices[next(iter(entry.devices))]
        entry.last_seen = max(entry.last_seen, wall)
        self._note_seen(user, entry.last_seen, now)
        return self._tell(user, entry, now)

    def watch(self, watcher: UserId, user: UserId, last_seen: int, now: int) -> PresenceNotice:
        """Let `watcher` look at `user` for 60 s; tells what is known now. The caller has checked that it may."""
        entry = self._entry(user)
        entry.last_seen = max(entry.last_seen, last_seen)
        entry.watchers.pop(watcher, None)
        entry.watchers[watcher] = now + _WATCH_MS
        if len(entry.watchers) > WATCHERS:
            del entry.watchers[next(iter(entry.watchers))]
        return _notice(user, entry)

    def due(self, now: int) -> list[Told]:
        """Take the merged notices that are due."""
        told: list[Told] = []
        for user in [late for late in self._late if self._users[late].next_at <= now]:
            del self._late[user]
            notice = self._tell(user, self._users[user], now)
            if notice is not None:
                told.append(notice)
        return told

    def seen(self, now: int, *, all_of_it: bool = False) -> dict[UserId, int]:
        """Take the last-seen times to be kept: every 10 s, or now."""
        if not self._seen or (now < self._seen_at and not all_of_it):
            return {}
        seen, self._seen = self._seen, {}
        return seen

    def wake_at(self) -> int | None:
        """Tell when (steady ms) `due` or `seen` has something; None when nothing is waiting."""
        # The first late one is not surely the earliest, but all are within one period: good enough, and never long.
        late = next((self._users[user].next_at for user in self._late), None)
        if not self._seen:
            return late
        return self._seen_at if late is None else min(late, self._seen_at)

    def __len__(self) -> int:
        return len(self._users)

    def _entry(self, user: UserId) -> _User:
        entry = self._users.get(user)
        if entry is None:
            entry = self._users[user] = _User({}, {})
            if len(self._users) > self._most:
                forgotten, _ = self._users.popitem(last=False)
                self._late.pop(forgotten, None)
        else:
            self._users.move_to_end(user)
        return entry

    def _note_seen(self, user: UserId, wall: int, now: int) -> None:
        if not self._seen:
            self._seen_at = now + SEEN_EVERY_MS
        self._seen[user] = wall

    def _tell(self, user: UserId, entry: _User, now: int) -> Told | None:
        notice = _notice(user, entry)
        if notice.status == entry.told:
            self._late.pop(user, None)
            return None
        watchers = tuple(watcher for watcher, until in entry.watchers.items() if until > now)
        if watchers and now < entry.next_at:
            self._late[user] = None
            return None
        entry.told = notice.status
        entry.next_at = now + MERGED_MS
        return Told(notice, watchers) if watchers else None


def _notice(user: UserId, entry: _User) -> PresenceNotice:
    states = {state.status for state in entry.devices.values()}
    status = "online" if "online" in states else "away" if "away" in states else "offline"
    return PresenceNotice(user, status, entry.last_seen)
