"""What makes a token void before its time, as last read from the store.

Rules
- A snapshot in memory: asking is a dictionary look-up, refreshing is one read of the version and, when it moved, one of
  the revocations. Whoever runs the process refreshes it every few seconds; a notice only makes that faster.
- Before the first refresh nothing is known, so nobody is admitted; after it, a store that is away changes nothing.
"""

from msgspec import Struct

from stores.ports.accounts import Policy, Revocation
from tidings.protocol.ids import DeviceId, UserId, client_id


class _Cut(Struct, frozen=True):
    tokens_from: int
    gone: bool


class Revocations:
    """The current snapshot. Use it from one thread."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._cuts: dict[tuple[str, str], _Cut] = {}

    @property
    def loaded(self) -> bool:
        """Whether there is a snapshot at all."""
        return self._version is not None

    @property
    def version(self) -> int | None:
        """The snapshot's version; None before the first."""
        return self._version

    def listed(self) -> list[Revocation]:
        """List the snapshot, for a broker that keeps a copy in its own process."""
        return [
            Revocation(UserId(user), DeviceId(device), cut.tokens_from, cut.gone)
            for (user, device), cut in self._cuts.items()
        ]

    @property
    def gone(self) -> frozenset[str]:
        """Client ids of devices that were logged out for good: their sessions and queues are to be deleted."""
        return frozenset(
            client_id(UserId(user), DeviceId(device))
            for (user, device), cut in self._cuts.items()
            if device and cut.gone
        )

    async def refresh(self, policy: Policy) -> bool:
        """Read again if the version moved; tells whether it did. Raises `StoreUnavailable`; the old snapshot stays."""
        version = await policy.version()
        if version == self._version:
            return False
        self.replace(version, await policy.revocations())
        return True

    def replace(self, version: int, revocations: list[Revocation]) -> None:
        """Take this snapshot. Of several cuts for the same device or user the strictest counts."""
        cuts: dict[tuple[str, str], _Cut] = {}
        for cut in revocations:
            old = cuts.get((cut.user, cut.device), _Cut(0, gone=False))
            cuts[cut.user, cut.device] = _Cut(max(old.tokens_from, cut.tokens_from), old.gone or cut.gone)
        self._cuts, self._version = cuts, version

    def voids(self, user: str, device: str, issued_at: int) -> bool:
        """Tell whether a token of this device, issued then (ms), is void: device gone, user banned, or token too
        old."""
        return any(
            cut is not None and (cut.gone or issued_at < cut.tokens_from)
            for cut in (self._cuts.get((user, device)), self._cuts.get((user, "")))
        )
