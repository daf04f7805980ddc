"""Spreading a device's `watch` over the owners of the watched users' lanes.

Rules: a user's presence lives with the owner of the user's lane. A watch of users of other lane groups goes there as
one internal message a lane group, on `s/{lane}/do`; each owner tells the watcher itself, on `u/{watcher}/in/presence`.
The same way within one process and across several. Nobody answers it: a watch that is lost is repeated within 60 s.
"""

from msgspec import Raw

from bridge.intake import WATCH, Watch
from tidings.protocol import codec, ids, topics
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import ConvId, Group, Lane, UserId
from tidings.protocol.link import Outbound
from tidings.protocol.payloads import Command, DoWatch


def spread(group: Group, watcher: UserId, wish: DoWatch, now: int) -> tuple[Watch | None, list[Outbound]]:
    """Part a watch into that of the watcher's own lane group (None without one) and messages to the others."""
    shares: dict[Group, dict[UserId, None]] = {}
    for user in wish.users:
        try:
            lane = ids.lane_of(ids.user_id(user))
        except Refusal:
            continue  # who has no such form does not exist, and is never online
        shares.setdefault(ids.group_of(lane), {})[user] = None
    own = shares.pop(group, None)
    others = [_pass_on(watcher, tuple(users), wish, now) for users in shares.values()]
    return Watch(watcher, tuple(own)) if own else None, others


def _pass_on(watcher: UserId, users: tuple[UserId, ...], wish: DoWatch, now: int) -> Outbound:
    lane: Lane = ids.lane_of(users[0])
    args = Raw(codec.encode(DoWatch(wish.id, users)))
    command = Command(wish.id, WATCH, ConvId(""), watcher, "", now, args)
    return Outbound(topics.build(topics.LaneDo(lane)), codec.encode(command))
