"""The embedded broker alone, open to all, with limits that no bench reaches: the floor under Tidings' figures.

    python -m bench.open_broker --port 21883 --data FOLDER

Its sessions are kept on disk as always; there are no tokens, no rules and no bridge.
"""

import argparse
import asyncio
import signal
import time
from pathlib import Path

from acl.decisions import Decision, Principal
from bench.systems import HOST
from broker.embedded.durable import SqliteStore
from broker.embedded.server import EmbeddedBroker
from broker.port import Limits
from tidings.protocol.ids import DeviceId, UserId

_NEVER = 2**62
_ALLOWED = Decision(True, "everything")


class OpenGate:
    """Everybody may do everything, for ever; `acl.decisions.Gate`."""

    def authenticate(self, client_id: str, username: str | None, password: bytes | None, now: int) -> Principal:
        """Let in."""
        return Principal(UserId(""), DeviceId(""), "device", client_id, username or "", now, _NEVER)

    def publish(self, principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
        """Allow."""
        return _ALLOWED

    def subscribe(self, principal: Principal, topic_filter: str) -> Decision:
        """Allow."""
        return _ALLOWED

    def is_void(self, principal: Principal, now: int) -> bool:
        """Never."""
        return False


async def serve(port: int, data: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    limits = Limits(publish_rate=1e9, publish_burst=10**9)
    broker = EmbeddedBroker(
        OpenGate(),
        SqliteStore(data / "broker.db"),
        lambda: time.time_ns() // 1_000_000,
        host=HOST,
        mqtt=port,
        limits=limits,
    )
    await broker.start()
    broker.admit()
    await stop.wait()
    await broker.stop()


def main() -> None:
    """Run, on uvloop where there is one, as `tidings up` does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(serve(options.port, options.data))


if __name__ == "__main__":
    main()
