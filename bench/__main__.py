"""`python -m bench`: measure, print the table (or JSON), leave table, JSON and plot in `bench/results`."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.job import Phase
from bench.meter import machine
from bench.plot import plot
from bench.report import Report, Setup, inserted, text
from bench.run import Measured, measure
from bench.systems import SYSTEMS, Unavailable

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the bench as asked. Exit status 0; 1 when nothing could be measured, 2 for a bad option."""
    options = parse(sys.argv[1:])
    options.data.mkdir(parents=True, exist_ok=True)
    options.results.mkdir(parents=True, exist_ok=True)
    here = machine(options.data)
    setup = Setup(options.clients, options.window, options.body, datetime.now(UTC).isoformat(timespec="seconds"))
    measured: list[Measured] = []
    unavailable: list[str] = []
    for system in (one for one in SYSTEMS if one.name in options.systems):
        try:
            measured += measure(
                system, phases(options), clients=options.clients, body=options.body, folder=options.data, say=say
            )
        except Unavailable as error:
            unavailable.append(str(error))
            say(str(error))
    report = Report(setup, here, tuple(measured), tuple(unavailable))
    keep(report, options.results / options.name)
    if options.insert:
        options.insert.write_text(inserted(options.insert.read_text(), report))
    print(msgspec.json.encode(report).decode() if options.json else text(report))
    return 0 if measured else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options; ends the process with one line and status 2 on a bad one."""
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="The same clients on a bare broker and on Tidings: rates, latencies, CPU a message.",
        epilog="example: python -m bench --systems tidings --rates 200 --seconds 10",
    )
    parser.add_argument("--clients", type=int, default=20, help="clients, an even number (default 20)")
    parser.add_argument("--window", type=int, default=16, help="closed loop: messages a client has out (default 16)")
    parser.add_argument("--body", type=int, default=100, help="bytes of text a message (default 100)")
    parser.add_argument("--rates", default="200,1000", help="open loops, messages/s of all clients (default 200,1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured seconds a phase (default 5)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each phase (default 1)")
    parser.add_argument("--systems", default=",".join(names), help=f"which, of {', '.join(names)} (default all)")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where the servers keep their data (var)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to leave the results (bench/results)")
    parser.add_argument("--name", default="latest", help="what the results are called there (default latest)")
    parser.add_argument("--insert", type=Path, metavar="DOCUMENT", help="put the table into a document as well")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    options.systems = options.systems.split(",")
    if unknown := set(options.systems) - set(names):
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    if options.clients < 2 or options.clients % 2:
        parser.error("--clients must be an even number, at least 2")
    try:
        options.rates = [float(rate) for rate in options.rates.split(",") if rate]
    except ValueError:
        parser.error("--rates must be numbers with commas between them")
    return options


def phases(options: argparse.Namespace) -> list[Phase]:
    """List what is measured on each system: the closed loop, then each open one."""
    timing = {"seconds": options.seconds, "warm_up": options.warm_up}
    found = [Phase("closed loop", 0.0, window=options.window, **timing)]
    found += [Phase(f"{rate:,.0f}/s", rate, window=1_000, **timing) for rate in options.rates]
    return found


def keep(report: Report, stem: Path) -> None:
    """Leave table, JSON and plot beside each other."""
    stem.with_name(f"{stem.name}.md").write_text(text(report))
    stem.with_name(f"{stem.name}.json").write_bytes(msgspec.json.encode(report) + b"\n")
    if report.measured:
        plot(report, stem.with_name(f"{stem.name}.png"))


def say(line: str) -> None:
    """Tell the progress, away from the results."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
