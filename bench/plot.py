"""The plot: what a run shows at a glance. Rates and CPU of the closed loop as bars, latencies of the open loops as
curves over percentiles, so that the tail is seen."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from bench.report import Report, others
from bench.run import GENERATOR, Measured

COLOURS: Final = {"mosquitto": "#8a8f98", "embedded": "#5b8db8", "tidings": "#d1495b"}
GENERATOR_COLOUR: Final = "#e3e5e8"
STYLES: Final = ("-", "--", ":", "-.")
TICKS: Final = (0.0, 0.5, 0.9, 0.99, 0.999)


def plot(report: Report, path: Path) -> None:
    """Draw a report as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    closed = [one for one in report.measured if not one.phase.rate]
    opened = [one for one in report.measured if one.phase.rate]
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (rates, cpu, curves) = plt.subplots(
            1, 3, figsize=(16.5, 4.8), layout="constrained", width_ratios=(1, 1, 1.4)
        )
        _rates(rates, closed)
        _cpu(cpu, closed)
        _curves(curves, opened)
        setup, machine = report.setup, report.machine
        figure.suptitle(
            f"{setup.clients} clients in pairs, QoS 1, {setup.body} bytes of text; {machine.cores} cores shared by "
            f"server, load generator and other work ({others(report.measured):.1f} cores); fsync "
            f"{machine.fsync_ms:.2f} ms; message limits off",
            fontsize=10,
            color="#555555",
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _rates(axes: Any, measured: list[Measured]) -> None:
    for place, one in enumerate(measured):
        rate = one.tally.acknowledged / one.tally.seconds
        axes.bar(place, rate, color=COLOURS.get(one.system), width=0.6)
        axes.text(place, rate, f"{rate:,.0f}", ha="center", va="bottom")
    axes.set_title("Acknowledged a second, closed loop")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _name(axes, measured)


def _cpu(axes: Any, measured: list[Measured]) -> None:
    for place, one in enumerate(measured):
        micros = one.micros()
        generator = micros.pop(GENERATOR, 0.0)
        server = sum(micros.values())
        axes.bar(place, server, color=COLOURS.get(one.system), width=0.6)
        axes.bar(place, generator, bottom=server, color=GENERATOR_COLOUR, width=0.6)
        axes.text(place, server / 2, f"{server:,.0f}", ha="center", va="center", color="white", weight="bold")
        axes.text(place, server + generator / 2, f"{generator:,.0f}", ha="center", va="center", color="#777777")
    axes.set_title("CPU µs a message (grey: generator)")
    _name(axes, measured)


def _name(axes: Any, measured: Iterable[Measured]) -> None:
    titles = [one.title.replace(", ", ",\n") for one in measured]
    axes.set_xticks(range(len(titles)), titles)
    axes.tick_params(axis="x", length=0)


def _curves(axes: Any, measured: list[Measured]) -> None:
    rates = sorted({one.phase.rate for one in measured})
    for one in measured:
        points = [(_nines(share), ms) for share, ms in one.tally.deliver.curve if share <= TICKS[-1]]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                STYLES[rates.index(one.phase.rate) % len(STYLES)],
                color=COLOURS.get(one.system),
                label=f"{one.title}, {one.phase.rate:,.0f}/s",
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.set_xticks([_nines(share) for share in TICKS], [f"{share:.1%}".replace(".0%", "%") for share in TICKS])
    axes.grid(visible=True, color="#eeeeee")
    axes.set_xlabel("share of messages delivered by then")
    axes.set_title("Delivery latency, ms from the moment a message was due")
    if measured:
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _nines(share: float) -> float:
    """Stretch the tail: 0.9, 0.99, 0.999 stand equally far apart."""
    return -math.log10(max(1.0 - share, 1e-6))
