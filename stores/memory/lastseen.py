"""The model of last-seen times."""

from tidings.protocol.ids import UserId


class MemoryLastSeen:
    """`LastSeen` over a dictionary."""

    def __init__(self) -> None:
        self._seen: dict[UserId, int] = {}

    async def put(self, seen: dict[UserId, int]) -> None:
        """Keep the times; an older one never replaces a newer."""
        for user, at in seen.items():
            self._seen[user] = max(at, self._seen.get(user, at))

    async def get(self, users: frozenset[UserId]) -> dict[UserId, int]:
        """Tell the times of those that have one."""
        return {user: at for user, at in self._seen.items() if user in users}
