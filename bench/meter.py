"""What the machine does meanwhile: CPU time by process, the load of others, and what a durable write costs here.

Rules: CPU is user and system time of a process and its children, as the kernel counts it, between two readings.
"""

import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

SYNCS: Final = 50


class Usage(Struct, frozen=True):
    """Between two readings: `seconds` of wall clock, CPU seconds `by_process`, and of everything `else_` on the
    machine (all its cores together)."""

    seconds: float
    by_process: dict[str, float]
    else_: float


class Machine(Struct, frozen=True):
    """Where the figures come from: cores, load average (1 min) before the run, median cost of a 4 KiB append and
    fsync (ms) in the data folder, operating system and Python."""

    cores: int
    load: float
    fsync_ms: float
    system: str
    python: str


class Meter:
    """Reads the CPU clocks of some processes, by name, and of the whole machine."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before = self._read()

    def start(self) -> None:
        """Begin to count."""
        self._before = self._read()

    def stop(self) -> Usage:
        """Tell what was used since `start`."""
        (wall, own, busy), (wall0, own0, busy0) = self._read(), self._before
        used = {name: own[name] - own0[name] for name in own}
        return Usage(wall - wall0, used, max(busy - busy0 - sum(used.values()), 0.0))

    def _read(self) -> tuple[float, dict[str, float], float]:
        own = {name: _cpu(process) for name, process in self._processes.items()}
        times = psutil.cpu_times()
        return time.monotonic(), own, sum(times) - times.idle - getattr(times, "iowait", 0.0)


def _cpu(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def machine(folder: Path) -> Machine:
    """Describe this machine; `folder` is where the servers under the bench keep their data."""
    uname = os.uname()
    return Machine(
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        fsync_ms=fsync_ms(folder),
        system=f"{uname.sysname} {uname.machine}",
        python=".".join(map(str, sys.version_info[:3])),
    )


def fsync_ms(folder: Path) -> float:
    """Measure the median time (ms) of appending 4 KiB and making it durable."""
    took = []
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begin)
    path.unlink()
    return statistics.median(took) * 1_000
