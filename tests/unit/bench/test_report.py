"""The table tells what was measured, and what to doubt."""

import msgspec
import pytest

from bench.job import Phase, Tallied
from bench.meter import Machine, Usage
from bench.report import MARKS, Report, Setup, inserted, notes, others, table, text
from bench.run import GENERATOR, Measured
from bench.samples import latency
from bench.systems import seats_of_relay
from tidings.protocol import topics


def measured(rate: float = 0.0, **changed: object) -> Measured:
    tally = Tallied(
        phase="closed loop",
        seconds=2.0,
        sent=2_000,
        acknowledged=2_000,
        delivered=1_990,
        acknowledge=latency([0.001, 0.002]),
        deliver=latency([0.0105, 0.025]),
        late=latency([0.0]),
        missing=0,
        repeated=0,
        refused=0,
        refusal="",
        cpu=1.0,
    )
    usage = Usage(2.0, {"broker": 0.5, GENERATOR: 1.0}, 0.25)
    phase = Phase("closed loop", rate, seconds=2.0, warm_up=1.0, window=16)
    return Measured("tidings", "Tidings, whole", phase, msgspec.structs.replace(tally, **changed), usage)


def test_a_row_has_rates_latencies_and_cpu_a_message() -> None:
    row = table([measured()]).splitlines()[2]
    assert "1,000" in row
    assert "995" in row
    assert "1.00 / 2.00 / 2.00" in row
    assert "10.5 / 25.0 / 25.0" in row
    assert "250 broker" in row
    assert "500" in row
    assert "0.12 cores" in row


def test_all_lines_of_a_table_are_equally_long() -> None:
    assert len({len(line) for line in table([measured(), measured(acknowledged=1)]).splitlines()}) == 1


def test_notes_tell_what_to_doubt() -> None:
    assert notes([measured()]) == []
    busy, missing, refused, slow = notes(
        [measured(rate=2_000.0, cpu=1.9, missing=3, refused=1, refusal="rateLimited: wait")]
    )
    assert "load generator was busy" in busy
    assert "3 copies never came" in missing
    assert "rateLimited: wait" in refused
    assert "asked rate was not reached" in slow


def test_the_report_says_that_limits_are_off_and_survives_json() -> None:
    here = Machine(cores=2, load=0.5, fsync_ms=0.2, system="Linux", python="3.11")
    report = Report(Setup(20, 16, 100, "now"), here, (measured(),), ("mosquitto is not on the PATH",))
    assert "message limits are off" in text(report)
    assert "not measured: mosquitto is not on the PATH" in text(report)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report).setup == report.setup


def test_a_table_is_inserted_between_the_marks_and_replaced_there() -> None:
    here = Machine(cores=2, load=0.5, fsync_ms=0.2, system="Linux", python="3.11")
    report = Report(Setup(20, 16, 100, "now"), here, (measured(),))
    once = inserted(f"above\n{MARKS[0]}\nold\n{MARKS[1]}\nbelow\n", report)
    assert once.startswith("above\n")
    assert once.endswith("\nbelow\n")
    assert "old" not in once
    assert "Tidings, whole" in once
    assert inserted(once, report) == once
    with pytest.raises(ValueError, match="marks"):
        inserted("no marks", report)


def test_others_is_an_average_over_the_measured_time() -> None:
    assert others([measured(), measured()]) == 0.125
    assert others([]) == 0.0


def test_seats_of_a_relay_see_exactly_their_own_and_their_partners_messages() -> None:
    seats = seats_of_relay(6)
    for number, seat in enumerate(seats):
        partner = seats[number ^ 1]
        assert set(seat.filters) == {seat.topic, partner.topic}
        assert isinstance(topics.parse(seat.topic), topics.Out)
        assert topics.parse(seat.topic).conv == topics.parse(partner.topic).conv  # type: ignore[union-attr]
    assert len({seat.topic for seat in seats}) == 6
