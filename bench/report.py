"""What a run tells: one table for people, one JSON object for programs.

Rules: the table is Markdown that reads well as it is; every figure in it is in the JSON too, unrounded.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.meter import Machine
from bench.run import GENERATOR, Measured


class Setup(Struct, frozen=True):
    """What was chosen for the run: clients, window a client, bytes of text a message, and when (UTC, ISO 8601)."""

    clients: int
    window: int
    body: int
    at: str


class Report(Struct, frozen=True):
    """All of a run. `unavailable`: what could not be measured, and why."""

    setup: Setup
    machine: Machine
    measured: tuple[Measured, ...]
    unavailable: tuple[str, ...] = ()


HEAD = (
    "system",
    "load",
    "acknowledged/s",
    "delivered/s",
    "acknowledged p50 / p95 / p99 ms",
    "delivered p50 / p95 / p99 ms",
    "CPU µs a message: server",
    "generator",
    "others' CPU",
)
_BUSY = 0.9
MARKS = ("<!-- bench -->", "<!-- end of bench -->")


def text(report: Report) -> str:
    """Render the whole report for people."""
    parts = [preamble(report), table(report.measured)]
    parts += [f"not measured: {line}" for line in report.unavailable]
    parts += [f"note: {line}" for line in notes(report.measured)]
    return "\n\n".join(parts) + "\n"


def preamble(report: Report) -> str:
    """Say what was measured, where, and what was switched off."""
    setup, machine = report.setup, report.machine
    return (
        f"{setup.clients} clients in pairs, QoS 1, {setup.body} bytes of text, {setup.at}. Closed loop: a window of "
        f"{setup.window} a client. Open loop: latency counts from the moment a message was due.\n"
        f"{machine.system}, {machine.cores} cores, load average {machine.load:.2f} before the run, Python "
        f"{machine.python}, a 4 KiB append and fsync takes {machine.fsync_ms:.2f} ms.\n"
        "Acknowledged: the sender's own copy is back (on Tidings: it is stored). Delivered: the partner has it. "
        "Users' message limits are off."
    )


def table(measured: Iterable[Measured]) -> str:
    """Render the measurements as an aligned Markdown table."""
    rows = [HEAD, *(_row(one) for one in measured)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def _row(one: Measured) -> tuple[str, ...]:
    tally, micros = one.tally, one.micros()
    generator = micros.pop(GENERATOR, 0.0)
    return (
        one.title,
        one.phase.name,
        f"{tally.acknowledged / tally.seconds:,.0f}",
        f"{tally.delivered / tally.seconds:,.0f}",
        _three(tally.acknowledge.p50, tally.acknowledge.p95, tally.acknowledge.p99),
        _three(tally.deliver.p50, tally.deliver.p95, tally.deliver.p99),
        ", ".join(f"{value:,.0f} {name}" for name, value in micros.items()),
        f"{generator:,.0f}",
        f"{one.usage.else_ / one.usage.seconds:.2f} cores" if one.usage.seconds else "?",
    )


def _three(*values: float | None) -> str:
    return " / ".join("–" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}" for value in values)


def others(measured: Iterable[Measured]) -> float:
    """Tell how many cores other work kept busy on average while it was measured."""
    usages = [one.usage for one in measured]
    seconds = sum(usage.seconds for usage in usages)
    return sum(usage.else_ for usage in usages) / seconds if seconds else 0.0


def inserted(document: str, report: Report) -> str:
    """Put the report's table into a document, between its two marks. Raises `ValueError` when they are missing."""
    before, begin, rest = document.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"the document has no marks {MARKS}")
    said = f"{preamble(report)}\nOther work kept {others(report.measured):.1f} cores busy meanwhile."
    return f"{before}{begin}\n\n{said}\n\n{table(report.measured)}\n\n{end}{after}"


def notes(measured: Sequence[Measured]) -> list[str]:
    """Tell what a reader must know before believing a row."""
    found = []
    for one in measured:
        where, tally = f"{one.title}, {one.phase.name}", one.tally
        if tally.cpu > _BUSY * tally.seconds:
            found.append(f"{where}: the load generator was busy throughout; the server could have done more")
        if tally.missing:
            found.append(f"{where}: {tally.missing} copies never came")
        if tally.refused:
            found.append(f"{where}: {tally.refused} refused, first: {tally.refusal}")
        if one.phase.rate and tally.acknowledged < _BUSY * one.phase.rate * tally.seconds:
            found.append(f"{where}: the asked rate was not reached")
    return found
