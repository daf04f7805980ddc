"""What a history must keep, judged from outside: by what was told to devices, and by what the journal says.

Rules
- At once: nothing is published or acknowledged that the journal does not hold; no number has two contents; no id two
  numbers; nobody is shown what it may not see; every device is given its log in order, once; marks only rise.
- In the end, when all faults are healed: every device holds the whole of its log, every outbox is empty, and what was
  acknowledged stands in the log.
- A violation is raised where it happens, so that a trace ends with its cause.
"""

from collections.abc import Callable
from typing import NamedTuple

from stores.ports.entries import JournalEntry, Member, Row
from stores.visible import is_visible
from tidings.protocol import codec
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.link import Outbound
from tidings.protocol.payloads import ErrorNotice, Message, Receipt


class Violation(AssertionError):
    """A promise is broken."""


class Said(NamedTuple):
    """A message as a device said it."""

    conv: ConvId
    user: UserId
    device: DeviceId
    id: MessageId
    body: str


class Journalled:
    """What the journals hold: the one truth, taken in entry by entry as it is appended."""

    def __init__(self) -> None:
        self.rows: dict[ConvId, dict[int, Row]] = {}
        self.numbers: dict[tuple[ConvId, UserId, DeviceId, MessageId], int] = {}
        self.members: dict[ConvId, dict[UserId, Member]] = {}
        self.versions: dict[ConvId, int] = {}
        self._marks: dict[tuple[ConvId, UserId, str], int] = {}

    def take(self, entry: JournalEntry) -> None:
        """Take an entry in. Raises `Violation` when it leaves a hole, or gives an id a second number."""
        for row in entry.rows:
            self._row(row)
        for member in entry.members:
            self.members.setdefault(member.conv, {})[member.user] = member
        for move in entry.marks:
            version = self.versions.get(move.conv, 0) + 1
            _hold(move.version == version, f"move {move.version} of {move.conv} should be {version}")
            self.versions[move.conv] = version
            mark = self._marks.get((move.conv, move.user, move.kind), 0)
            _hold(mark <= move.from_ < move.to <= self.head(move.conv), f"the mark goes wrong: {mark}, then {move}")
            self._marks[move.conv, move.user, move.kind] = move.to

    def head(self, conv: ConvId) -> int:
        """Tell the last number of a conversation."""
        return len(self.rows.get(conv, ()))

    def row(self, conv: ConvId, seq: int) -> Row | None:
        """Tell the row of a number."""
        return self.rows.get(conv, {}).get(seq)

    def _row(self, row: Row) -> None:
        rows = self.rows.setdefault(row.conv, {})
        _hold(row.seq == len(rows) + 1, f"{row.conv} goes from {len(rows)} to {row.seq}")
        rows[row.seq] = row
        if row.id:
            key = (row.conv, row.sender, row.device, row.id)
            _hold(key not in self.numbers, f"{row.id} of {row.conv} is doubled: {self.numbers.get(key)} and {row.seq}")
            self.numbers[key] = row.seq


class Checker:
    """See the module's rules. `truth` is what the journals hold."""

    def __init__(self, truth: Journalled, trace: Callable[[str], None]) -> None:
        self.truth = truth
        self._trace = trace
        self.acked: dict[Said, int] = {}
        self.refused: set[tuple[str, str]] = set()
        self._shown: dict[tuple[UserId, ConvId, int], bytes] = {}

    def publishes(self, client_id: str, message: Outbound) -> None:
        """A client's publish has reached the broker. Clients' own are none of our business."""
        self._trace(f"{client_id} publishes {message.topic} {message.payload[:160]!r}")
        levels = message.topic.split("/")
        if not client_id.startswith("bridge-") or levels[0] != "u":
            return
        kind, user = levels[-1], UserId(levels[1])
        if kind in ("msg", "event"):
            self._entry_shown(user, codec.decode(message.payload, Message))
        elif kind == "receipt":
            receipt = codec.decode(message.payload, Receipt)
            known = self.truth.versions.get(receipt.conv, 0)
            _hold(receipt.version <= known, f"receipt {receipt.version} is told, the journal has {known}")
        elif kind == "error":
            self.refused.add((levels[2], codec.decode(message.payload, ErrorNotice).id))

    def acknowledged(self, said: Said, seq: int = 0) -> None:
        """A device was told that its message is stored, as `seq` (0: told without a number, by a PUBACK)."""
        number = self.truth.numbers.get((said.conv, said.user, said.device, said.id))
        if number is None:
            refused = not seq and (said.device, said.id) in self.refused
            _hold(refused, f"{said.id} was acknowledged, the journal does not have it")
            return
        _hold(seq in (0, number), f"{said.id} was acknowledged as {seq}, the journal has it as {number}")
        row = self.truth.row(said.conv, number)
        assert row is not None
        body = codec.decode(row.payload, Message).body
        _hold(body == said.body, f"{said.id} was stored as {body!r}, said was {said.body!r}")
        self.acked[said] = number

    def delivered(self, user: UserId, before: int | None, entry: Message) -> None:
        """A device was given an entry; the one before it in that log had `before` as its number."""
        _hold(before is None or entry.seq == before + 1, f"after {before} came {entry.seq} in {entry.conv}")
        self._entry_shown(user, entry)

    def moved(self, before: int, to: int, conv: ConvId) -> None:
        """A device was told that a mark moved."""
        _hold(before <= to <= self.truth.head(conv), f"a mark of {conv} went from {before} to {to}")

    def visible(self, user: UserId, conv: ConvId, seq: int) -> Row | None:
        """Tell the row of a number if this user may see it."""
        row, member = self.truth.row(conv, seq), self.truth.members.get(conv, {}).get(user)
        return row if row is not None and member is not None and is_visible(row, member) else None

    def _entry_shown(self, user: UserId, entry: Message) -> None:
        if not entry.seq or entry.kind == "tombstone":
            return
        _hold(self.truth.row(entry.conv, entry.seq) is not None, f"{entry.conv}/{entry.seq} is shown, not journalled")
        row = self.visible(user, entry.conv, entry.seq)
        if row is None:
            raise Violation(f"{user} is shown {entry.conv}/{entry.seq}, which it may not see")
        _hold(codec.decode(row.payload, Message) == entry, f"{entry.conv}/{entry.seq} is shown with another content")


def check_whole(checker: Checker, user: UserId, log: dict[ConvId, list[Message]], name: str) -> None:
    """Check at the end that a device holds all that its user may see, from where its log begins."""
    for conv, members in checker.truth.members.items():
        member = members.get(user)
        if member is None:
            continue
        last = member.windows[-1].last or checker.truth.head(conv)
        held = log.get(conv, [])
        reached = held[-1].seq if held else 0
        _hold(reached >= last, f"{name} holds {conv} up to {reached}, and it goes to {last}")
        for entry in held:
            if entry.kind == "tombstone":
                seen = checker.visible(user, conv, entry.seq)
                _hold(seen is None, f"{name} has a tombstone at {conv}/{entry.seq}, which it may see")


def _hold(true: bool, otherwise: str) -> None:
    if not true:
        raise Violation(otherwise)
