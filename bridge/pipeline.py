"""The way of a batch: fill, seal, commit, keep dead letters, publish, acknowledge. One at a time; the next fills.

Rules (design, sections 2 and 4)
- A sealed batch has its number and its bytes for good: it is committed, whatever it takes, or the group is given up.
- Nothing leaves before the commit is known, and nothing is acknowledged before all that it caused has left and was
  answered. Without a connection, what is committed waits to be published.
- Handles live as long as their connection: a lost link takes them out of every batch.
- After a lost link the ownership is proved by an empty entry, before anybody connects again: an owner that was cut off
  by its successor must find out, not cut back.
- `at` never goes back within the group, whatever the clock does.
"""

from collections.abc import Callable, Iterable, Sequence

from bridge import metrics
from bridge.batch import Batch, Phase
from bridge.effects import Ack, Commit, Effect, GiveUp, Keep, Moment, Publish
from stores.ports.entries import JournalEntry, Opened, Row
from stores.ports.log import Outcome
from tidings.protocol.ids import ConvId, Group
from tidings.protocol.link import Outbound


class Pipeline:
    """See the module's rules. `emit` takes its effects; the caller seals whenever it may."""

    def __init__(self, group: Group, opened: Opened, now: Moment, owner: str, emit: Callable[[Effect], None]) -> None:
        self.filling = Batch()
        """What is decided now goes in here."""
        self.flight: Batch | None = None
        """The batch on its way."""
        self.connected = False
        self.proved = True
        """Whether the ownership was proved since the link was last lost."""
        self.given_up = ""
        """Why the group was given up; empty while it is ours."""
        self.at = now.wall
        """The time of the next entry, ms UTC."""
        self._group = group
        self._owner = owner
        self._emit = emit
        self._epoch = opened.epoch
        self._next_n = opened.next_n
        self._published = opened.next_n - 1
        self._probing = False
        self._sent = 0

    # What decides with it.

    def reach(self, at: int) -> None:
        """Let `at` be no earlier than this (ms UTC)."""
        self.at = max(self.at, at)

    def send(self, messages: Iterable[Outbound]) -> None:
        """Publish after the commit of what is being filled."""
        self.filling.send(messages)

    def reply(self, message: Outbound) -> None:
        """Send one device's own answer. Unlike what is fanned out it is a payload of its own, and counts by its
        bytes."""
        self.filling.send((message,))
        self.filling.size += len(message.payload)

    def row(self, conv: ConvId, seq: int) -> Row | None:
        """Find a row that is decided and perhaps not committed: the store is no witness of it yet."""
        batches = (self.filling,) if self.flight is None else (self.filling, self.flight)
        return next((row for batch in batches for row in batch.rows if row.seq == seq and row.conv == conv), None)

    @property
    def may_seal(self) -> bool:
        """Whether the filling batch could go on its way now."""
        return self.flight is None and not self._probing and not self.filling.is_empty and not self.given_up

    @property
    def idle(self) -> bool:
        """Whether nothing decided is on its way."""
        return self.flight is None and self.filling.is_empty and not self._probing

    def seal(self, now: Moment) -> None:
        """Send the filling batch on its way."""
        batch, self.filling = self.filling, Batch()
        self.flight = batch
        batch.since = now.steady
        metrics.BATCH.observe(len(batch.rows))
        if batch.commits:
            batch.phase = Phase.COMMITTING
            batch.n = self._commit(batch)
        else:
            self._keep(batch, now)

    def recover(self, entries: Sequence[JournalEntry]) -> Batch:
        """Put a predecessor's perhaps unpublished entries before everything else; `publish` it when it is filled."""
        self._published = min(entry.n for entry in entries) - 1
        self.reach(max(entry.at for entry in entries))
        self.flight = batch = Batch()
        batch.phase = Phase.RECOVERING
        batch.n = max(entry.n for entry in entries)
        return batch

    # What comes back.

    def is_connected(self) -> None:
        """The link is there: what was not answered is published again."""
        self.connected = True
        if self.flight is not None and self.flight.phase is Phase.PUBLISHING:
            self._send(self.flight)

    def is_lost(self) -> None:
        """The link is gone, and all handles with it."""
        self.connected = False
        self.proved = False
        self.filling.handles.clear()
        if self.flight is not None:
            self.flight.handles.clear()
        if self.flight is None or self.flight.phase is not Phase.COMMITTING:
            self._prove()

    def committed(self, outcome: Outcome, now: Moment) -> None:
        """The outcome of the last `Commit` is known."""
        if outcome is Outcome.FENCED:
            self.given_up = f"lane group {self._group} has another owner"
            self._emit(GiveUp(self.given_up))
            return
        self.proved = True
        if self._probing:
            self._probing = False
        elif self.flight is not None:
            metrics.ENTRIES.labels(self._group).inc(len(self.flight.rows))
            self._keep(self.flight, now)

    def kept(self, now: Moment) -> None:
        """The dead letters are durable."""
        if self.flight is not None and self.flight.phase is Phase.KEEPING:
            self.publish(self.flight, now)

    def published(self, number: int, now: Moment) -> None:
        """The broker has answered everything of the `Publish` of this number."""
        batch = self.flight
        if batch is not None and batch.phase is Phase.PUBLISHING and number == self._sent:
            self._done(batch, now)

    def publish(self, batch: Batch, now: Moment) -> None:
        """Publish what the batch caused, now or when there is a connection."""
        batch.phase = Phase.PUBLISHING
        if not batch.outgoing:
            self._done(batch, now)
        elif self.connected:
            self._send(batch)

    # Inner steps.

    def _commit(self, batch: Batch) -> int:
        entry = JournalEntry(
            group=self._group,
            n=self._next_n,
            epoch=self._epoch,
            at=self.at,
            owner=self._owner,
            rows=tuple(batch.rows),
            members=tuple(batch.members.values()),
            marks=tuple(batch.marks),
            conversations=batch.headers(),
            published=self._published,
        )
        self._next_n += 1
        self._emit(Commit(entry))
        return entry.n

    def _prove(self) -> None:
        if not self.given_up and not self._probing:
            self._probing = True
            self._commit(Batch())

    def _keep(self, batch: Batch, now: Moment) -> None:
        if batch.letters:
            batch.phase = Phase.KEEPING
            self._emit(Keep(tuple(batch.letters)))
        else:
            self.publish(batch, now)

    def _send(self, batch: Batch) -> None:
        # Numbered, so that an answer which a cut connection still brought is not taken for that of a later batch.
        self._sent += 1
        metrics.OUTGOING.labels(self._group).inc(len(batch.outgoing))
        self._emit(Publish(tuple(batch.outgoing), self._sent))

    def _done(self, batch: Batch, now: Moment) -> None:
        self._published = max(self._published, batch.n)
        if batch.handles:
            self._emit(Ack(tuple(batch.handles)))
        metrics.BATCH_SECONDS.observe((now.steady - batch.since) / 1000)
        batch.unpin()
        self.flight = None
