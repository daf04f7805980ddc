"""Ctrl-C and SIGTERM: the first ends the work in order, the second at once.

Rules
- The first signal cancels the work, whatever it does, and it has `drain` seconds to end. Nothing acknowledged depends
  on that: a stop is only a kinder crash.
- Who cannot end in time, or is told a second time, ends at once with status 1.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

AT_ONCE = 1
"""Exit status of a process that did not end in order."""


async def until_signal(work: Coroutine[Any, Any, int], *, drain: float, interrupted: int) -> int:
    """Do the work and give its exit status, or `interrupted` if a signal ended it."""
    task = asyncio.ensure_future(work)
    first = _First(task, drain)
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, first.told)
    loop.set_exception_handler(first.overheard)
    try:
        return await task
    except asyncio.CancelledError:
        if not first.is_told:
            raise
        return interrupted
    finally:
        first.forget()


class _First:
    """Waits for the first signal, and for what comes after it."""

    def __init__(self, task: "asyncio.Future[int]", drain: float) -> None:
        self._task = task
        self._drain = drain
        self._timer: threading.Timer | None = None

    @property
    def is_told(self) -> bool:
        return self._timer is not None

    def told(self) -> None:
        if self.is_told:
            _end("stopped at once")
        # A thread's timer, for the loop may be what hangs.
        self._timer = threading.Timer(self._drain, _end, [f"stopped without draining, which took over {self._drain} s"])
        self._timer.daemon = True
        self._timer.start()
        self._task.cancel()

    def overheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what fails in a callback. After the signal two things are no failures: that something was cancelled, and
        that nobody asks any more why a connection ended (aiomqtt does both when it is cancelled while it connects)."""
        left = context.get("future")
        dropped = left is not None and not isinstance(left, asyncio.Task)
        if not (self.is_told and (dropped or isinstance(context.get("exception"), asyncio.CancelledError))):
            loop.default_exception_handler(context)

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _end(why: str) -> None:
    print(f"tidings: {why}; nothing acknowledged is lost", file=sys.stderr, flush=True)
    os._exit(AT_ONCE)
