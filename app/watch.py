"""Noticing revocations: the policy is read again every second; with the broker's sweep a device is gone within 2 s."""

import asyncio
import logging
from typing import Final

from acl.revocations import Revocations
from stores.ports.accounts import Policy
from tidings.protocol.errors import StoreUnavailable

POLICY_SECONDS: Final = 1.0

log: Final = logging.getLogger(__name__)


class PolicyWatch:
    """Keeps `revocations` current. `troubles` tells why not, for `/readyz`."""

    def __init__(self, policy: Policy, revocations: Revocations) -> None:
        self._policy, self._revocations = policy, revocations
        self.troubles: list[str] = []

    async def run(self) -> None:
        """Read again and again until cancelled; what could not be read leaves the last known state in force."""
        while True:
            try:
                await self._revocations.refresh(self._policy)
                self.troubles = []
            except StoreUnavailable as error:
                if not self.troubles:
                    log.warning("revocations cannot be read: %s", error)
                self.troubles = [f"revocations cannot be read: {error}"]
            await asyncio.sleep(POLICY_SECONDS)
