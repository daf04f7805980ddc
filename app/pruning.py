"""Forgetting what has served: journal entries and ids older than their seven days, a little every hour."""

import asyncio
import logging
from typing import Final

from app.clock import now_ms
from stores.sql.log import SqlLog
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

EVERY_SECONDS: Final = 3_600.0
BREATH_SECONDS: Final = 0.1
"""Between two bites, so that commits are not kept waiting."""

log: Final = logging.getLogger(__name__)


async def pruned(store: SqlLog) -> None:
    """Prune every hour until cancelled, bite by bite."""
    while True:
        try:
            while await store.prune(now_ms()) > 0:
                await asyncio.sleep(BREATH_SECONDS)
        except (StoreUnavailable, OutcomeUnknown) as error:
            log.warning("old journal entries cannot be pruned, trying again in an hour: %s", error)
        await asyncio.sleep(EVERY_SECONDS)
