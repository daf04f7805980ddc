"""One Cassandra node as a child process, in a folder of its own, on a loopback address.

Rules
- Everything a node writes lies in its folder; started again there it is the same node, also after `kill`.
- A write is acknowledged after its fsync (`commitlog_sync: batch`): what a node acknowledged survives its death.
- A node ends with whoever started it, even if that is killed (by `setpriv`, of util-linux, where there is one). To the
  kernel that is a thread: start nodes from one that stays.
- A node listens on its address alone, never on all. The first node is its own seed.
- Nodes join without streaming: start all of a cluster before the first write.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
JARS = Path(os.environ.get("TIDINGS_CASSANDRA_JARS", ROOT / "var/engines/cassandra/jars"))
DATACENTER = "datacenter1"

_YAML = """\
cluster_name: tidings
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
num_tokens: 16
auto_bootstrap: false
auto_snapshot: false
commitlog_sync: batch
listen_address: {address}
rpc_address: {address}
native_transport_port: {port}
storage_port: {storage_port}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{seed}:{storage_port}"
"""


class NodeFailed(Exception):
    """A node ended, or did not get ready in time; with the last lines of its log."""


def missing() -> str | None:
    """Tell what is missing to run a node here, and how to get it. None: nothing."""
    if shutil.which("java") is None:
        return "Java 17 is not installed; Debian: apt install openjdk-17-jre-headless"
    if not any(JARS.glob("cassandra-all-*.jar")):
        return "Cassandra's jars are not there; fetch them (about 67 MiB, once): make engines"
    return None


def fetch() -> None:
    """Gather the jars by Maven, unless they are there. Raises `NodeFailed`."""
    if any(JARS.glob("cassandra-all-*.jar")):
        return
    maven = shutil.which("mvn")
    if maven is None:
        raise NodeFailed("Maven is not installed; Debian: apt install maven openjdk-17-jre-headless")
    target = JARS.parent / "target"
    order = [
        maven,
        "-B",
        "-q",
        "-f",
        str(HERE / "pom.xml"),
        f"-Dfolder={JARS}",
        f"-DbuildDirectory={target}",
        "package",
    ]
    if subprocess.run(order, check=False).returncode:  # noqa: S603 - Maven's path, our own arguments
        raise NodeFailed("Maven could not gather Cassandra's jars; its own words stand above")


class Node:
    """A node that may be started, stopped, killed and started again. `storage_port` is one for all of a cluster."""

    def __init__(
        self, folder: Path, port: int, storage_port: int, *, address: str = "127.0.0.1", seed: str | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.address = address
        self.port = port
        self._yaml = _YAML.format(address=address, port=port, storage_port=storage_port, seed=seed or address)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running node's process id."""
        assert self._process is not None, "the node is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        conf, temporary = self.folder / "conf", self.folder / "tmp"
        for made in (conf, temporary):
            made.mkdir(parents=True, exist_ok=True)
        (conf / "cassandra.yaml").write_text(self._yaml)
        shutil.copy(HERE / "logback.xml", conf)
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                self._order(conf, temporary),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,  # a terminal's Ctrl-C is for whoever started us, who then stops the node
            )

    def _order(self, conf: Path, temporary: Path) -> list[str]:
        if (reason := missing()) is not None:
            raise NodeFailed(reason)
        with_parent = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        return [
            *with_parent,
            "java",
            f"@{HERE / 'jvm.options'}",
            f"-javaagent:{next(JARS.glob('jamm-*.jar'))}",
            f"-XX:ErrorFile={self.folder}/jvm-crash.log",
            f"-Djava.io.tmpdir={temporary}",
            f"-Dcassandra.storagedir={self.folder}",
            f"-Dcassandra.logdir={self.folder}",
            "-cp",
            f"{conf}:{JARS}/*",
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def wait(self, within: float = 90.0) -> None:
        """Wait until the node takes CQL connections. Raises `NodeFailed`."""
        assert self._process is not None, "the node was not started"
        end = time.monotonic() + within
        while not self._accepts():
            if self._process.poll() is not None:
                raise NodeFailed(f"the node ended with {self._process.returncode}:\n{self._last_words()}")
            if time.monotonic() > end:
                raise NodeFailed(f"the node was not ready within {within:.0f} s:\n{self._last_words()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Drain and end it; it is killed if that takes longer than 30 s."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Crash it: SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def _accepts(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1):
                return True
        except OSError:
            return False

    def _last_words(self) -> str:
        logs = (self.folder / name for name in ("node.log", "console.log"))
        return "\n".join(log.read_text(errors="replace")[-2_000:] for log in logs if log.exists())
