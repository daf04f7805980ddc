"""The owner of a lane group, without its I/O: inbound messages, results and time go in, effects come out.

Rules
- Inputs are methods, `take` gives the effects they caused, in order. Nothing here waits, reads a clock or does I/O.
- `pipeline` is the way of a batch, `desk` decides, `refusals` tells why not, `presence` who is there; this file leads
  what comes in to them.
- After a take-over the predecessor's perhaps unpublished entries are published again before anything is committed.
- Everything is bounded (`Bounds`); what is above is refused as `unavailable`, or dropped and counted at QoS 0.
- A group that was given up, and one that drains, takes nothing more in.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bridge import metrics, outgoing
from bridge.asking import Question
from bridge.audience import told_of
from bridge.batch import Bounds, Phase
from bridge.decision import Decision
from bridge.desk import Desk
from bridge.effects import Answer, Effect, KeepSeen, LookAt, Moment, Tell
from bridge.intake import Appear, Item, Unreadable, Watch, read
from bridge.orders import Acknowledge, Alter, Say, Type
from bridge.pipeline import Pipeline
from bridge.presence import PresenceTable, Told
from bridge.rates import MessageRates, Rates
from bridge.refusals import Refusals
from bridge.state import Known
from bridge.watching import spread
from stores.ports.directory import Person
from stores.ports.entries import IdKey, IdRecord, JournalEntry, Opened, Row, Snapshot
from stores.ports.log import Outcome
from tidings.protocol import ids, limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Cell, ConvId, Group, MessageId, UserId
from tidings.protocol.link import Inbound, Outbound
from tidings.protocol.payloads import DoHeads, DoSync, DoWatch, WatchReply, Wire

_MINUTE: Final = 60_000
WATCHES_A_MINUTE: Final = 30


class LaneGroup:
    """See the module's rules."""

    def __init__(
        self,
        group: Group,
        opened: Opened,
        now: Moment,
        *,
        owner: str,
        new_id: Callable[[], MessageId],
        bounds: Bounds | None = None,
        messages: MessageRates | None = None,
        cell: Cell = ids.CELL,
    ) -> None:
        self.group = group
        self.draining = False
        self._cell = cell
        self._new_id = new_id
        self._bounds = bounds or Bounds()
        self._effects: list[Effect] = []
        self._pipeline = Pipeline(group, opened, now, owner, self._emit)
        self._refusals = Refusals(group, self._pipeline, self._bounds)
        self._desk = Desk(group, self._pipeline, self._refusals, self._bounds, self._emit, messages)
        self._presence = PresenceTable()
        self._watches: Rates[UserId] = Rates(WATCHES_A_MINUTE, _MINUTE)
        self._questions: dict[int, Item] = {}
        self._asked = 0
        self._gauges = metrics.Gauges(group)
        self._recovering: tuple[JournalEntry, ...] = opened.unpublished
        if self._recovering:
            self._recover()
        self._advance(now)

    # How it stands.

    @property
    def given_up(self) -> str:
        """Why the group was given up; empty while it is ours."""
        return self._pipeline.given_up

    @property
    def connected_now(self) -> bool:
        """Whether the link is there."""
        return self._pipeline.connected

    @property
    def proved(self) -> bool:
        """Whether the ownership was proved since the link was last lost: connect only then."""
        return self._pipeline.proved

    @property
    def idle(self) -> bool:
        """Whether nothing decided is on its way."""
        return self._pipeline.idle

    def wake_at(self) -> int | None:
        """Tell when (steady ms) `tick` has something to do."""
        times = [when for when in (self._desk.wake_at(), self._presence.wake_at()) if when is not None]
        return min(times, default=None)

    def take(self) -> list[Effect]:
        """Take the effects since the last call, in order. Given up, nothing is left but to say so."""
        effects, self._effects = self._effects, []
        return effects

    # The link.

    def connected(self, now: Moment) -> None:
        """The link is there. What was not answered before is published again."""
        self._desk.forget_people()
        self._pipeline.is_connected()
        self._advance(now)

    def lost(self, now: Moment) -> None:
        """The link is gone, and all handles with it."""
        self._forget_waiting()
        self._pipeline.is_lost()
        self._advance(now)

    def receive(self, messages: Sequence[Inbound], now: Moment) -> None:
        """Take inbound messages in."""
        if self.given_up or self.draining:
            return
        metrics.INBOUND.labels(self.group).inc(len(messages))
        for inbound in messages:
            self._receive(inbound, now)
        self._advance(now)

    # Results.

    def loaded(self, conv: ConvId, snapshot: Snapshot | None, now: Moment) -> None:
        """A conversation was loaded; None: it does not exist."""
        self._desk.loaded(conv, snapshot)
        self._advance(now)

    def found_id(self, key: IdKey, record: IdRecord | None, now: Moment) -> None:
        """The index was asked."""
        known = Known(record.seq, record.digest, record.at) if record else None
        self._desk.found_id(key.conv, (key.user, key.device, key.id), known)
        self._advance(now)

    def found_row(self, conv: ConvId, seq: int, row: Row | None, now: Moment) -> None:
        """A row was read."""
        self._desk.found_row(conv, seq, row)
        self._advance(now)

    def found_hidden(self, conv: ConvId, low: int, hidden: Mapping[UserId, frozenset[int]], now: Moment) -> None:
        """Older rows were looked through, from `low` on."""
        self._desk.found_hidden(conv, low, hidden)
        self._advance(now)

    def told_people(self, asked: frozenset[UserId], people: Mapping[UserId, Person], now: Moment) -> None:
        """The directory answered."""
        self._desk.told_people(asked, people, now)
        self._advance(now)

    def committed(self, outcome: Outcome, now: Moment) -> None:
        """The outcome of the last `Commit` is known."""
        self._pipeline.committed(outcome, now)
        self._advance(now)

    def kept(self, now: Moment) -> None:
        """The dead letters are durable."""
        self._pipeline.kept(now)
        self._advance(now)

    def published(self, number: int, now: Moment) -> None:
        """The broker has answered everything of the `Publish` of this number."""
        self._pipeline.published(number, now)
        self._advance(now)

    def answered(self, question: Question, reply: Wire | Refusal, now: Moment) -> None:
        """A device's question was answered, or refused."""
        item = self._questions.pop(question.number, None)
        if item is None or item.sender is None:
            return  # asked on a connection that is gone: it comes again
        if isinstance(reply, Refusal):
            self._refusals.refuse(item, reply)
        else:
            self._pipeline.reply(outgoing.answer(reply, item.sender))
            self._refusals.finish(item.inbound)
        self._advance(now)

    def looked_at(
        self, watcher: UserId, people: Mapping[UserId, Person], seen: Mapping[UserId, int], now: Moment
    ) -> None:
        """What may be told of watched users is known: tell it, and go on telling for 60 s."""
        for user, person in people.items():
            if not person.hides_presence and watcher not in person.blocks:
                notice = self._presence.watch(watcher, user, seen.get(user, 0), now.steady)
                self._tell(outgoing.presence(notice, (watcher,)))
        self._advance(now)

    # Time.

    def tick(self, now: Moment) -> None:
        """Do what is due: merged receipts, presence, last seen."""
        self._desk.tell_due(now, all_of_them=self.draining)
        for told in self._presence.due(now.steady):
            self._tell_presence(told)
        seen = self._presence.seen(now.steady, all_of_it=self.draining)
        if seen:
            self._emit(KeepSeen(seen))
        self._advance(now)

    def drain(self, now: Moment) -> None:
        """Take nothing more in, and bring what was decided to its end. What waits is left to come again."""
        self.draining = True
        self._forget_waiting()
        self.tick(now)

    # Inbound.

    def _receive(self, inbound: Inbound, now: Moment) -> None:
        try:
            item = read(inbound, self._cell, self._new_id)
        except Unreadable as unreadable:
            self._refusals.refuse_unreadable(inbound, unreadable, now)
            return
        if self._desk.waiting >= self._bounds.waiting:
            self._refusals.overload(item)
            return
        match item.wish:
            case Say(conv=conv) | Acknowledge(conv=conv) | Type(conv=conv) | Alter(conv=conv):
                self._desk.wait(item, conv)
            case Appear() as appear:
                self._appear(appear, now)
                self._refusals.finish(inbound)
            case Watch() as watch:
                self._look(watch)
                self._refusals.finish(inbound)
            case DoWatch() as wish:
                self._watch(item, wish, now)
            case DoHeads() | DoSync() as request:
                self._ask(item, request)

    def _ask(self, item: Item, request: DoHeads | DoSync) -> None:
        if len(self._questions) >= self._bounds.questions or self._pipeline.filling.is_full(self._bounds):
            self._refusals.overload(item)
            return
        sender = item.sender
        assert sender is not None
        self._asked += 1
        self._questions[self._asked] = item
        self._emit(Answer(Question(self._asked, sender.user, sender.device, request, sender.encoding)))

    def _appear(self, appear: Appear, now: Moment) -> None:
        told = self._presence.appear(appear.user, appear.device, appear.state, now.wall, now.steady)
        if told is not None:
            self._tell_presence(told)

    def _watch(self, item: Item, wish: DoWatch, now: Moment) -> None:
        sender = item.sender
        assert sender is not None
        if len(wish.users) > limits.WATCHED_USERS:
            self._refusals.refuse(item, Refusal(Code.BAD_VALUE, f"at most {limits.WATCHED_USERS} users at once"))
            return
        wait = self._watches.take(sender.user, now.steady)
        if wait:
            self._refusals.refuse(item, Refusal(Code.RATE_LIMITED, retry_after=round(wait, 1) or 0.1))
            return
        own, others = spread(self.group, sender.user, wish, now.wall)
        if own is not None:
            self._look(own)
        self._pipeline.send((*others, outgoing.answer(WatchReply(wish.id), sender)))
        self._refusals.finish(item.inbound)

    def _look(self, watch: Watch) -> None:
        own = tuple(user for user in watch.users if ids.group_of(ids.lane_of(user)) == self.group)
        self._emit(LookAt(watch.watcher, own[: limits.WATCHED_USERS]))

    # After a take-over.

    def _recover(self) -> None:
        """Have the conversations loaded of entries that were perhaps not published."""
        batch = self._pipeline.recover(self._recovering)
        told = [row.conv for entry in self._recovering for row in entry.rows]
        told += [move.conv for entry in self._recovering for move in entry.marks]
        for conv in dict.fromkeys(told):
            slot = self._desk.slots.take(conv)
            batch.take(slot, Decision())
            self._desk.want(slot)

    def _recovered(self, now: Moment) -> None:
        """Publish them again, as the stored rows and windows say, once all are loaded."""
        batch = self._pipeline.flight
        if batch is None or batch.phase is not Phase.RECOVERING:
            return
        states = {conv: slot.state for conv, slot in batch.touched.items() if slot.state is not None}
        if len(states) < len(batch.touched):
            return
        for entry in self._recovering:
            for row in entry.rows:
                members = states[row.conv].members
                batch.send(outgoing.entry(row, members, members))
            for move in entry.marks:
                batch.send(outgoing.receipt(move, told_of(states[move.conv], move)))
        self._recovering = ()
        batch.since = now.steady
        self._pipeline.publish(batch, now)

    # Going on.

    def _advance(self, now: Moment) -> None:
        if self.given_up:
            return
        self._recovered(now)
        if not self._recovering:  # what is published again obeys the committed members: nothing is decided before
            self._desk.fill(now)
        while self._pipeline.may_seal:
            self._pipeline.seal(now)
            self._desk.fill(now)
        self._desk.look_up(now)
        self._gauges.tell(self._desk.waiting, self._desk.loading, len(self._desk.slots))

    def _forget_waiting(self) -> None:
        self._desk.forget_waiting()
        self._questions.clear()

    def _tell_presence(self, told: Told) -> None:
        self._tell(outgoing.presence(told.notice, told.watchers))

    def _tell(self, messages: list[Outbound]) -> None:
        if messages and self._pipeline.connected:
            self._emit(Tell(tuple(messages)))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)
