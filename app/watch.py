"""Noticing revocations: the policy is read again every second; with the broker's sweep a device is gone within 2 s."""

import asyncio
import logging
from typing import Final

from acl.revocations import Revocations
from broker.port import Broker
from stores.ports.accounts import Policy
from tidings.protocol.errors import StoreUnavailable

POLICY_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 0.5
_UNWRITTEN: Final = "the sessions of devices that are gone cannot be deleted durably yet"

log: Final = logging.getLogger(__name__)


class PolicyWatch:
    """Keeps `revocations` current, and has the broker forget the sessions of devices that are gone. `troubles` tells
    what is not well, for `/readyz`."""

    def __init__(self, policy: Policy, revocations: Revocations, broker: Broker) -> None:
        self._policy, self._revocations, self._broker = policy, revocations, broker
        self._forgotten: frozenset[str] = frozenset()
        self.troubles: list[str] = []

    async def run(self) -> None:
        """Read again and again until cancelled; what could not be read leaves the last known state in force."""
        changed = True
        while True:
            try:
                changed = await self._revocations.refresh(self._policy) or changed
                changed = changed and not await self._forget()
                self.troubles = [_UNWRITTEN] if changed else []
            except StoreUnavailable as error:
                if not self.troubles:
                    log.warning("revocations cannot be read: %s", error)
                self.troubles = [f"revocations cannot be read: {error}"]
            await asyncio.sleep(POLICY_SECONDS)

    async def _forget(self) -> bool:
        """Delete the sessions of devices newly gone; after a start, of all that are: a crash may have come between.
        False if the broker's store did not take it in time: the next revocation does not wait for a full disk."""
        gone = frozenset(self._revocations.gone)
        try:
            async with asyncio.timeout(FORGET_SECONDS):
                await asyncio.gather(*(self._broker.kick(one, forget=True) for one in gone - self._forgotten))
        except TimeoutError:
            return False
        self._forgotten = gone
        return True
