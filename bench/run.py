"""One run: each system in turn is started, loaded phase by phase, metered and stopped.

Rules: systems never run side by side; the load generator is a process of its own, so that its cost is told apart.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.job import Began, Ended, Failed, Job, Line, Phase, Tallied
from bench.meter import Meter, Usage
from bench.systems import HOST, Running, System, Unavailable

GENERATOR = "load generator"


class Measured(Struct, frozen=True):
    """One phase on one system."""

    system: str
    title: str
    phase: Phase
    tally: Tallied
    usage: Usage

    def micros(self) -> dict[str, float]:
        """CPU µs an acknowledged message, by process."""
        count = max(self.tally.acknowledged, 1)
        return {name: seconds / count * 1e6 for name, seconds in self.usage.by_process.items()}


def measure(
    system: System, phases: Sequence[Phase], *, clients: int, body: int, folder: Path, say: Callable[[str], None]
) -> list[Measured]:
    """Start a system, run all phases on it, stop it. Raises `Unavailable` when it cannot be measured."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{system.name}-", dir=folder) as own:
        say(f"{system.title}: starting")
        with system.run(Path(own), clients) as running:
            job = Job(HOST, running.port, running.seats, tuple(phases), body)
            return _generate(system, job, running, say)


def _generate(system: System, job: Job, running: Running, say: Callable[[str], None]) -> list[Measured]:
    generator = subprocess.Popen(
        [sys.executable, "-m", "bench.generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert generator.stdin is not None
    assert generator.stdout is not None
    try:
        generator.stdin.write(msgspec.json.encode(job) + b"\n")
        generator.stdin.flush()
        meter = Meter({**running.pids, GENERATOR: generator.pid})
        return _follow(system, job, meter, (msgspec.json.decode(line, type=Line) for line in generator.stdout), say)  # type: ignore[arg-type]
    finally:
        generator.kill()
        generator.wait()
        generator.stdin.close()
        generator.stdout.close()


def _follow(
    system: System, job: Job, meter: Meter, lines: "Sequence[Line]", say: Callable[[str], None]
) -> list[Measured]:
    phases = {phase.name: phase for phase in job.phases}
    measured: list[Measured] = []
    usage = Usage(0.0, {}, 0.0)
    for line in lines:
        match line:
            case Began():
                say(f"{system.title}: {line.phase}")
                meter.start()
            case Ended():
                usage = meter.stop()
            case Tallied():
                measured.append(Measured(system.name, system.title, phases[line.phase], line, usage))
            case Failed():
                raise Unavailable(f"{system.title}: {line.why}")
    if len(measured) < len(phases):
        raise Unavailable(f"{system.title}: the load generator ended early")
    return measured
