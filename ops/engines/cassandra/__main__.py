"""`python -m ops.engines.cassandra fetch | run [--port N]`: gather the jars; run one node until Ctrl-C."""

import argparse
import signal
import sys
from types import FrameType

from ops.engines.cassandra.node import ROOT, Node, NodeFailed, fetch, missing


def main() -> int:
    """Do what the command line says; tells the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ops.engines.cassandra", description=__doc__)
    parser.add_argument("what", choices=("fetch", "run"))
    parser.add_argument("--port", type=int, default=9042, help="CQL port on 127.0.0.1 (default 9042)")
    parser.add_argument("--storage-port", type=int, default=7000, help="port between nodes (default 7000)")
    chosen = parser.parse_args()
    try:
        fetch()
        if chosen.what == "run":
            run(chosen.port, chosen.storage_port)
    except NodeFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(port: int, storage_port: int) -> None:
    """Run one node in ./var/engines/cassandra/node until SIGINT or SIGTERM."""
    if (reason := missing()) is not None:
        raise NodeFailed(reason)
    signal.signal(signal.SIGTERM, _interrupt)
    node = Node(ROOT / "var/engines/cassandra/node", port, storage_port)
    try:
        node.start()
        node.wait()
        print(f"Cassandra takes CQL on 127.0.0.1:{port}; data in {node.folder}; Ctrl-C stops it", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        node.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
