"""Who takes part in a history: four users whose conversations all belong to one lane group, so that owners contend.

Rules: ids are pure functions of what stands here, the same in every history; the seed decides only what they do.
"""

import hashlib
from functools import cache
from itertools import combinations
from typing import Final, NamedTuple

from tidings.protocol import ids
from tidings.protocol.ids import ConvId, DeviceId, Group, MessageId, UserId

GROUP: Final = Group("0")


class Cast(NamedTuple):
    """The users, by rising id, and the request that makes their group conversation."""

    users: tuple[UserId, ...]
    request: MessageId
    conversation: ConvId

    def direct(self) -> list[tuple[UserId, UserId, ConvId]]:
        """List every pair's conversation."""
        pairs = combinations(self.users, 2)
        return [(one, other, ids.direct_conversation(one, other)) for one, other in pairs]


@cache
def cast(size: int = 4) -> Cast:
    """Find the users, and a request whose group belongs to the same lane group."""
    users: list[UserId] = []
    number = 0
    while len(users) < size:
        number += 1
        entropy = b"\0" + hashlib.sha256(f"user {number}".encode()).digest()[:10]
        user = ids.make_user_id(entropy)
        if all(_ours(ids.direct_conversation(user, other)) for other in users):
            users.append(user)
    requests = (MessageId(f"make-{number}") for number in range(1_000))
    request = next(name for name in requests if _ours(ids.group_conversation(users[0], name)))
    return Cast(tuple(users), request, ids.group_conversation(users[0], request))


def device_of(user: UserId, number: int) -> DeviceId:
    """Name a user's device."""
    return ids.make_device_id(hashlib.sha256(f"{user} {number}".encode()).digest())


def _ours(conv: ConvId) -> bool:
    return ids.group_of(ids.lane_of(conv)) == GROUP
