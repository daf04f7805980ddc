"""Engines that are dear to start: one a run (with `-n 2`: one a worker), and only if a test asks for it."""

import shutil
import tempfile
from pathlib import Path

import pytest

from ops.engines.cassandra.node import Node, missing
from tests.processes import free_port


@pytest.fixture(scope="session")
def cassandra_jars():
    """Skips, telling what is missing and how to get it, where Cassandra cannot be had."""
    if (reason := missing()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cassandra(cassandra_jars):
    """A running node of Cassandra on loopback."""
    folder = Path(tempfile.mkdtemp(prefix="cassandra-"))
    node = Node(folder, free_port(), free_port())
    try:
        node.start()
        node.wait()
        yield node
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)
