"""docs/brokers.md, written from the tables of the suites, so that it says what the tests have seen.

python -m tests.conformance.broker.document      # writes it
"""

from collections.abc import Iterable
from pathlib import Path

from tests.conformance.acl import failures as rights
from tests.conformance.acl.cases import case as _rights_case  # noqa: F401 - it fills the suite
from tests.conformance.acl.suite import CASES as RIGHTS
from tests.conformance.broker import (  # noqa: F401 - they fill the suite
    cases_delivery,
    cases_limits,
    cases_retained,
    cases_sessions,
    cases_version5,
    cases_wills,
)
from tests.conformance.broker.differences import DIFFERENCES, VERSION
from tests.conformance.broker.failures import FAILS, LACKS
from tests.conformance.broker.scripts import SCRIPTS
from tests.conformance.broker.suite import CASES

PATH = Path(__file__).resolve().parents[3] / "docs" / "brokers.md"

_HEAD = """# Brokers

<!-- Written by `python -m tests.conformance.broker.document` from the tables that the tests hold to be true. -->

Tidings knows a broker by one port (`broker/port.py`: start, admit, kick, health, stop) and by MQTT. Each broker runs
the same black-box suites: `check_broker` (sessions, delivery, wills, limits, MQTT 5; tests/conformance/broker/) and
`check_broker_acl` (who may say what; tests/conformance/acl/), with paho-mqtt, aiomqtt, mosquitto's tools, and a raw
socket where a stock client cannot misbehave.

{brokers}
No broker's own PUBACK means that a message is stored: on the embedded broker a device's PUBACK waits until the bridge
has acknowledged; on the others the canonical copy that comes back is the acknowledgement.

Mosquitto asks the same gate by a plugin (`broker/mosquitto/plugin/`, ADR 0011), built where it runs from Debian's
`mosquitto-dev`, `libmosquitto-dev` and a C compiler: `python -m broker.mosquitto.build`. Two things differ there.
A will is not shown to a plugin at CONNECT: a forged one does not refuse the connection, it is refused when it is sent.
A refusal that is no fault of the token (devices are not admitted yet) closes the connection without an answer.

amqtt changes a session as it reads CONNECT, before it asks who is there. Our door (`broker/amqtt/door.py`) reads
CONNECT first and hands it on only when the gate has let token, binding and will pass; it also ends silent and
oversized connections, which amqtt does not.
"""

_BROKERS = (
    ("broker", "chosen by", "for", "tokens and rules", "kill -9"),
    (
        "embedded",
        "`TIDINGS_BROKER=embedded`, the default",
        "laptops, tests, small sites",
        "asked at every step",
        "keeps what it acknowledged",
    ),
    (
        "Mosquitto",
        "`TIDINGS_BROKER=mosquitto`",
        "one production node",
        "asked by our plugin, and remembered there",
        "loses its last second; the store's gap repair heals it",
    ),
    (
        "amqtt",
        "`TIDINGS_BROKER=amqtt`",
        "trials",
        "asked at a door before it, and by its plugins",
        "keeps nothing; gap repair alone",
    ),
)


def text() -> str:
    """Write the document."""
    head = _HEAD.format(brokers=_table(_BROKERS[0], _BROKERS[1:]))
    parts = [head, _kept(), *(_broker(kind) for kind in FAILS), _comparison()]
    return "\n".join(parts)


def _kept() -> str:
    rows = []
    for kind in FAILS:
        lacking = sum(bool(case.needs & LACKS[kind].keys()) for case in CASES.values())
        failing = len(FAILS[kind])
        asked = f"{len(RIGHTS) - len(rights.FAILS[kind])} of {len(RIGHTS)}" if kind in rights.FAILS else "not yet"
        rows.append((kind, f"{len(CASES) - lacking - failing} of {len(CASES)}", lacking, failing, asked))
    head = ("broker", "`check_broker` kept", "not run, for lack of an ability", "failed", "`check_broker_acl` kept")
    return "## What is kept\n\n" + _table(head, rows)


def _broker(kind: str) -> str:
    lacks = [(f"`{need}`", why, _count(need)) for need, why in LACKS[kind].items()]
    fails = [(_promise(name), f"{one.why}{' (not always)' * one.sometimes}") for name, one in FAILS[kind].items()]
    fails += [(_right(name), one.why) for name, one in rights.FAILS.get(kind, {}).items()]
    parts = [f"## {kind.capitalize()}\n"]
    if not lacks and not fails:
        parts.append("It keeps every case of both suites.\n")
    if lacks:
        parts.append(_table(("lacks", "why", "cases not run"), lacks))
    if fails:
        parts.append(_table(("fails", "what happens"), fails))
    return "\n".join(parts)


def _count(need: str) -> int:
    return sum(need in case.needs for case in CASES.values())


def _promise(name: str) -> str:
    return CASES[name].promise


def _right(name: str) -> str:
    return RIGHTS[name].promise


def _comparison() -> str:
    lines = [
        "## The embedded broker beside Mosquitto\n",
        f"{len(SCRIPTS)} scripts of packets (tests/conformance/broker/scripts.py), MQTT 3.1.1 and 5, are sent to both,"
        f" and the answers are compared line by line. They are the same but for these, with Mosquitto {VERSION}:\n",
    ]
    for why, found in DIFFERENCES.items():
        rows = [(one.script, one.step, f"`{_short(one.embedded)}`", f"`{_short(one.mosquitto)}`") for one in found]
        lines += [f"**{why}**\n", _table(("script", "step", "embedded", "Mosquitto"), rows)]
    return "\n".join(lines)


def _short(answer: str) -> str:
    return answer.replace("|", "\\|").encode("unicode_escape").decode()


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(list(head)), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
