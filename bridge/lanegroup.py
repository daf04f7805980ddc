"""The owner of a lane group, without its I/O: inbound messages, results and time go in, effects come out.

Rules (design, sections 2 and 4)
- One batch at a time: decode, decide, and fill; seal, commit, keep dead letters, publish, wait for the broker's
  answers, acknowledge. While one is on its way, the next fills.
- What was decided is applied to the states at once, ahead of the commit: a sealed batch is committed, whatever it
  takes, or the group is given up. Nothing is ever numbered again.
- Nothing leaves before the commit is known, and nothing is acknowledged before all that it caused has left.
- Handles live as long as their connection. When the link is lost, what waits is dropped (it comes again, and its ids
  tell) and what is in a batch goes on without its handles.
- After a lost link the ownership is proved by an empty entry before connecting again: a predecessor that was cut off
  by its successor must find out, not cut back.
- After a take-over the predecessor's perhaps unpublished entries are published again before anything is committed.
- Everything is bounded (`Bounds`); what is above is refused as `unavailable`, or dropped and counted at QoS 0.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bridge import metrics, outgoing
from bridge.asking import Question
from bridge.audience import told_of
from bridge.batch import Batch, Bounds, Phase
from bridge.conversation import blockers, concerned, decide
from bridge.decision import Decision, NeedId, NeedRows, Repeat
from bridge.effects import (
    Ack,
    Answer,
    AskPeople,
    Commit,
    Effect,
    FindHidden,
    FindId,
    FindRow,
    GiveUp,
    Keep,
    KeepSeen,
    Load,
    LookAt,
    Moment,
    Publish,
    Tell,
)
from bridge.intake import Appear, Item, Sender, Unreadable, Watch, digest, read
from bridge.notices import Notices
from bridge.orders import Acknowledge, Alter, Order, Say, Type
from bridge.people import PeopleCache
from bridge.presence import PresenceTable, Told
from bridge.rates import Rates
from bridge.slots import Slot, Slots
from bridge.state import KEPT_MS, Known, State
from bridge.watching import spread
from stores.ports.deadletters import DeadLetter
from stores.ports.directory import Person
from stores.ports.entries import IdKey, IdRecord, JournalEntry, MarkMove, Opened, Row, Snapshot
from stores.ports.log import Outcome
from tidings.protocol import ids, limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Cell, ConvId, Group, MessageId, UserId
from tidings.protocol.link import Inbound, Outbound
from tidings.protocol.payloads import DoWatch, WatchReply, Wire

log = logging.getLogger(__name__)

_MINUTE: Final = 60_000
_REMEMBERED: Final = 1_024
"""How many refused commands are remembered, so that a repeat is answered with the first outcome."""


class LaneGroup:
    """See the module's rules. Inputs are methods; after each, `take` gives the effects it caused, in order."""

    def __init__(
        self,
        group: Group,
        opened: Opened,
        now: Moment,
        *,
        owner: str,
        new_id: Callable[[], MessageId],
        bounds: Bounds | None = None,
        cell: Cell = ids.CELL,
    ) -> None:
        self.group = group
        self._owner = owner
        self._cell = cell
        self._new_id = new_id
        self._bounds = bounds or Bounds()
        self._epoch = opened.epoch
        self._next_n = opened.next_n
        self._published = opened.next_n - 1
        self._at = now.wall
        self._effects: list[Effect] = []
        self._slots = Slots(self._bounds.conversations)
        self._ready: dict[ConvId, Slot] = {}
        self._to_load: deque[Slot] = deque()
        self._loading = 0
        self._waiting = 0
        self._people = PeopleCache()
        self._strangers: list[Slot] = []
        self._notices = Notices()
        self._presence = PresenceTable()
        most = self._bounds.messages_a_minute
        self._messages: Rates[UserId] | None = Rates(most, _MINUTE) if most else None
        self._typing: Rates[tuple[str, str, bool]] = Rates(1, limits.TYPING_EVERY_SECONDS * 1000)
        self._letters: Rates[str] = Rates(self._bounds.dead_letters_a_minute, _MINUTE)
        self._watches: Rates[UserId] = Rates(30, _MINUTE)
        self._refused: OrderedDict[bytes, Refusal] = OrderedDict()
        self._questions: dict[int, Item] = {}
        self._asked = 0
        self._filling = Batch()
        self._flight: Batch | None = None
        self._probe = False
        self._sent = 0
        self._recovering: tuple[JournalEntry, ...] = ()
        self.connected_now = False
        self.proved = True
        """Whether the ownership was proved since the link was last lost: connect only then."""
        self.given_up = ""
        self.draining = False
        self._recover(opened.unpublished)
        self._advance(now)

    # What goes in.

    def take(self) -> list[Effect]:
        """Take the effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def connected(self, now: Moment) -> None:
        """The link is there. What was not answered before is published again."""
        self.connected_now = True
        if self._flight is not None and self._flight.phase is Phase.PUBLISHING:
            self._send(self._flight)
        self._advance(now)

    def lost(self, now: Moment) -> None:
        """The link is gone, and all handles with it."""
        self.connected_now = False
        self.proved = False
        self._drop_waiting()
        self._filling.handles.clear()
        if self._flight is not None:
            self._flight.handles.clear()
        if self._flight is None or self._flight.phase is not Phase.COMMITTING:
            self._prove()
        self._advance(now)

    def receive(self, messages: Sequence[Inbound], now: Moment) -> None:
        """Take inbound messages in."""
        if self.given_up or self.draining:
            return
        metrics.INBOUND.labels(self.group).inc(len(messages))
        for inbound in messages:
            self._receive(inbound, now)
        self._advance(now)

    def loaded(self, conv: ConvId, snapshot: Snapshot | None, now: Moment) -> None:
        """A conversation was loaded; None: it does not exist."""
        self._loading -= 1
        slot = self._slots.take(conv)
        slot.state = State.load(conv, snapshot)
        self._unblock(slot)
        self._advance(now)

    def found_id(self, key: IdKey, record: IdRecord | None, now: Moment) -> None:
        """The index was asked."""
        slot = self._slots.take(key.conv)
        slot.found.ids[key.user, key.device, key.id] = Known(record.seq, record.digest, record.at) if record else None
        self._unblock(slot)
        self._advance(now)

    def found_row(self, conv: ConvId, seq: int, row: Row | None, now: Moment) -> None:
        """A row was read."""
        slot = self._slots.take(conv)
        slot.found.rows[seq] = row
        self._unblock(slot)
        self._advance(now)

    def found_hidden(self, conv: ConvId, low: int, hidden: Mapping[UserId, frozenset[int]], now: Moment) -> None:
        """Older rows were looked through, from `low` on."""
        slot = self._slots.take(conv)
        slot.found.hidden = dict(hidden)
        slot.found.hidden_from = low
        self._unblock(slot)
        self._advance(now)

    def told_people(self, asked: frozenset[UserId], people: Mapping[UserId, Person], now: Moment) -> None:
        """The directory answered."""
        self._people.told(asked, people, now.steady)
        slots, self._strangers = self._strangers, []
        for slot in slots:
            self._unblock(slot)
        self._advance(now)

    def committed(self, outcome: Outcome, now: Moment) -> None:
        """The outcome of the last `Commit` is known."""
        if outcome is Outcome.FENCED:
            self._give_up(f"lane group {self.group} has another owner")
            return
        self.proved = True
        if self._probe:
            self._probe = False
        elif self._flight is not None:
            metrics.ENTRIES.labels(self.group).inc(len(self._flight.rows))
            self._keep(self._flight, now)
        self._advance(now)

    def kept(self, now: Moment) -> None:
        """The dead letters are durable."""
        if self._flight is not None:
            self._publish(self._flight, now)
        self._advance(now)

    def published(self, number: int, now: Moment) -> None:
        """The broker has answered everything of the `Publish` of this number."""
        if self._flight is not None and self._flight.phase is Phase.PUBLISHING and number == self._sent:
            self._done(self._flight, now)
        self._advance(now)

    def answered(self, question: Question, reply: Wire | Refusal, now: Moment) -> None:
        """A device's question was answered, or refused."""
        item = self._questions.pop(question.number, None)
        if item is None or item.sender is None:
            return  # asked on a connection that is gone: it comes again
        if isinstance(reply, Refusal):
            self._refuse(item, reply)
        else:
            self._filling.send((outgoing.answer(reply, item.sender),))
            self._finish(item)
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

    def tick(self, now: Moment) -> None:
        """Do what is due: merged notices, presence, last seen."""
        for move in self._notices.due(now.steady):
            self._tell_receipt(move)
        for told in self._presence.due(now.steady):
            self._tell_presence(told)
        seen = self._presence.seen(now.steady, all_of_it=self.draining)
        if seen:
            self._emit(KeepSeen(seen))
        self._advance(now)

    def drain(self, now: Moment) -> None:
        """Take nothing more in, and bring what was decided to its end. What waits is left to come again."""
        self.draining = True
        self._drop_waiting()
        for move in self._notices.flush():
            self._tell_receipt(move)
        self.tick(now)

    def wake_at(self) -> int | None:
        """Tell when (steady ms) `tick` has something to do."""
        times = [when for when in (self._notices.wake_at(), self._presence.wake_at()) if when is not None]
        return min(times, default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing decided is on its way."""
        return self._flight is None and self._filling.is_empty and not self._probe

    # Inbound.

    def _receive(self, inbound: Inbound, now: Moment) -> None:
        try:
            item = read(inbound, self._cell, self._new_id)
        except Unreadable as unreadable:
            self._refuse_unreadable(inbound, unreadable, now)
            return
        if self._waiting >= self._bounds.waiting:
            self._overload(item)
            return
        match item.wish:
            case Say() | Acknowledge() | Type() | Alter():
                self._wait(item, item.wish)
            case Appear():
                self._appear(item, item.wish, now)
            case Watch():
                self._look(item.wish)
                self._finish(item)
            case DoWatch():
                self._watch(item, item.wish, now)
            case _:
                self._ask(item)

    def _wait(self, item: Item, order: Order) -> None:
        slot = self._slots.take(order.conv)
        slot.waiting.append(item)
        self._waiting += 1
        if slot.blocked:
            return
        if slot.state is None:
            slot.blocked = True
            self._to_load.append(slot)
        else:
            self._ready[slot.conv] = slot

    def _appear(self, item: Item, appear: Appear, now: Moment) -> None:
        told = self._presence.appear(appear.user, appear.device, appear.state, now.wall, now.steady)
        if told is not None:
            self._tell_presence(told)
        self._finish(item)

    def _watch(self, item: Item, wish: DoWatch, now: Moment) -> None:
        assert item.sender is not None
        wait = self._watches.take(item.sender.user, now.steady)
        if len(wish.users) > limits.WATCHED_USERS:
            self._refuse(item, Refusal(Code.BAD_VALUE, f"at most {limits.WATCHED_USERS} users at once"))
            return
        if wait:
            self._refuse(item, Refusal(Code.RATE_LIMITED, retry_after=wait))
            return
        own, others = spread(self.group, item.sender.user, wish, now.wall)
        if own is not None:
            self._look(own)
        self._filling.send((*others, outgoing.answer(WatchReply(wish.id), item.sender)))
        self._finish(item)

    def _look(self, watch: Watch) -> None:
        own = tuple(user for user in watch.users if ids.group_of(ids.lane_of(user)) == self.group)
        self._emit(LookAt(watch.watcher, own[: limits.WATCHED_USERS]))

    def _ask(self, item: Item) -> None:
        if len(self._questions) >= self._bounds.questions * 8:
            self._overload(item)
            return
        assert item.sender is not None
        assert not isinstance(item.wish, Say | Acknowledge | Type | Alter | Appear | Watch)
        self._asked += 1
        self._questions[self._asked] = item
        sender = item.sender
        self._emit(Answer(Question(self._asked, sender.user, sender.device, item.wish, sender.encoding)))

    # Deciding.

    def _fill(self, now: Moment) -> None:
        self._at = max(self._at, now.wall)
        while self._ready and not self._filling.is_full(self._bounds):
            conv = next(iter(self._ready))
            slot = self._ready.pop(conv)
            self._decide_all(slot, now)
            if slot.waiting and not slot.blocked:
                self._ready[conv] = slot

    def _decide_all(self, slot: Slot, now: Moment) -> None:
        while slot.waiting and not self._filling.is_full(self._bounds):
            item = slot.waiting[0]
            try:
                if not self._carry_out(slot, item, now):
                    slot.blocked = True
                    return
            except Refusal as refusal:
                self._refuse(item, refusal)
            except Exception:
                # A bug of ours in one message must not stop the group: it is kept for people to look at.
                log.exception("could not decide a message on %s", item.inbound.topic)
                self._refuse(item, Refusal(Code.INTERNAL))
                self._bury(item.inbound, Refusal(Code.INTERNAL), now)
            slot.waiting.popleft()
            slot.found = type(slot.found)()
            self._waiting -= 1

    def _carry_out(self, slot: Slot, item: Item, now: Moment) -> bool:
        """Carry the order out, or tell what it waits for: False."""
        order, state = item.wish, slot.state
        assert state is not None
        assert isinstance(order, Say | Acknowledge | Type | Alter)
        if item.command is not None and (before := self._refused.get(_command_key(item))) is not None:
            raise before
        if not self._knows_people(slot, state, order, now):
            self._strangers.append(slot)
            return False
        verdict = decide(state, order, self._people.people, self._at, slot.found)
        match verdict:
            case NeedId(key):
                self._emit(FindId(key))
                return False
            case NeedRows(low, high):
                self._emit(FindHidden(slot.conv, low, high))
                return False
            case Repeat(seq):
                return self._repeat(slot, state, item, seq)
            case Decision():
                self._take(slot, state, item, order, verdict, now)
                return True

    def _knows_people(self, slot: Slot, state: State, order: Order, now: Moment) -> bool:
        if not isinstance(order, Say | Type) or not state.head:
            return self._people.known_until(concerned(state, order), now.steady) > 0
        if slot.known_until <= now.steady or slot.generation != self._people.generation:
            slot.known_until = self._people.known_until(state.active, now.steady)
            slot.generation = self._people.generation
        return slot.known_until > 0

    def _repeat(self, slot: Slot, state: State, item: Item, seq: int) -> bool:
        if item.command is not None:
            self._filling.send((outgoing.done(item.command, seq),))
        elif item.sender is not None:
            row = state.row(seq) or slot.found.rows.get(seq)
            if row is None and seq not in slot.found.rows:
                self._emit(FindRow(slot.conv, seq))
                return False
            if row is None:
                raise Refusal(Code.INTERNAL, "this message has a number, and its entry is missing")
            self._filling.send((outgoing.copy(row, item.sender),))
        metrics.REPEATS.labels(self.group).inc()
        self._finish(item)
        return True

    def _take(self, slot: Slot, state: State, item: Item, order: Order, decision: Decision, now: Moment) -> None:
        """Take a decision into the batch and the state, with what it causes."""
        if item.command is not None and now.wall > item.command.deadline:
            raise Refusal(Code.DEADLINE_PASSED)
        if isinstance(order, Type):
            self._type(state, order, now)
        elif isinstance(order, Say) and self._messages is not None:
            wait = self._messages.take(order.user, now.steady)
            if wait:
                raise Refusal(Code.RATE_LIMITED, retry_after=round(wait, 1) or 0.1)
        if decision.rows or decision.marks:
            self._filling.take(slot, decision)
            state.apply(decision)
            self._fan_out(slot, state, decision, now)
        if item.command is not None:
            self._filling.send((outgoing.done(item.command, decision.seq),))
        self._finish(item)

    def _fan_out(self, slot: Slot, state: State, decision: Decision, now: Moment) -> None:
        if decision.members:
            slot.known_until = 0
            gone = tuple(member.user for member in decision.members if not member.active)
            for row in decision.rows:
                self._filling.send(outgoing.entry(row, state.members, (*state.active, *gone)))
        else:
            for row in decision.rows:
                self._filling.send(outgoing.entry(row, state.members, state.active))
        if decision.rows:
            self._at = max(self._at, state.last_at)
        if decision.marks:
            shown = [move for move in decision.marks if move.shown]
            for move in self._notices.take(shown, now.steady):
                self._tell_receipt(move)

    def _type(self, state: State, order: Type, now: Moment) -> None:
        active = order.typing.active
        if self._typing.take((order.device, order.conv, active), now.steady):
            metrics.DROPPED.labels("typing above its rate").inc()
            return
        hidden = blockers(state, order.user, self._people.people)
        users = [user for user in state.active if user != order.user and user not in hidden]
        self._tell(outgoing.typing(order.conv, order.user, active, users))

    # Refusing.

    def _refuse(self, item: Item, refusal: Refusal) -> None:
        metrics.REFUSED.labels(str(refusal.code)).inc()
        if item.command is not None:
            self._filling.send((outgoing.refused(item.command, refusal),))
            if not refusal.kind.retryable:
                self._remember_refusal(item, refusal)
        elif item.sender is not None and not isinstance(item.wish, Type):
            conv = item.wish.conv if isinstance(item.wish, Say | Acknowledge) else ""
            self._filling.send((outgoing.error(refusal, item.sender, id_=item.id, conv=conv),))
        self._finish(item)

    def _refuse_unreadable(self, inbound: Inbound, unreadable: Unreadable, now: Moment) -> None:
        refusal = unreadable.refusal
        metrics.REFUSED.labels(str(refusal.code)).inc()
        if unreadable.command is not None:
            self._filling.send((outgoing.refused(unreadable.command, refusal),))
        if unreadable.sender is not None:
            self._filling.send((outgoing.error(refusal, unreadable.sender, id_=unreadable.id),))
        if unreadable.dead and not self._letters.take(_who(unreadable.sender), now.steady):
            self._bury(inbound, refusal, now)
        self._acknowledge(inbound)

    def _bury(self, inbound: Inbound, refusal: Refusal, now: Moment) -> None:
        metrics.DEAD.labels(str(refusal.code)).inc()
        letter = DeadLetter(self.group, inbound.topic, inbound.payload, str(refusal.code), refusal.text, now.wall)
        self._filling.letters.append(letter)

    def _overload(self, item: Item) -> None:
        if item.inbound.qos:
            self._refuse(item, Refusal(Code.UNAVAILABLE, retry_after=1.0))
        else:
            metrics.DROPPED.labels("too much waits").inc()

    def _remember_refusal(self, item: Item, refusal: Refusal) -> None:
        self._refused[_command_key(item)] = refusal
        if len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)

    def _finish(self, item: Item) -> None:
        self._acknowledge(item.inbound)

    def _acknowledge(self, inbound: Inbound) -> None:
        if inbound.qos:
            self._filling.handles.append(inbound.handle)

    # The batch on its way.

    def _seal(self, now: Moment) -> None:
        batch, self._filling = self._filling, Batch()
        self._flight = batch
        batch.since = now.steady
        metrics.BATCH.observe(len(batch.rows))
        metrics.WAITING.labels(self.group).set(self._waiting)
        metrics.CACHED.labels(self.group).set(len(self._slots))
        metrics.LOADS.labels(self.group).set(self._loading)
        if not batch.commits:
            self._keep(batch, now)
            return
        batch.n = self._next_n
        batch.phase = Phase.COMMITTING
        self._commit(batch)

    def _commit(self, batch: Batch) -> None:
        entry = JournalEntry(
            group=self.group,
            n=self._next_n,
            epoch=self._epoch,
            at=self._at,
            owner=self._owner,
            rows=tuple(batch.rows),
            members=tuple(batch.members.values()),
            marks=tuple(batch.marks),
            conversations=batch.headers(),
            published=self._published,
        )
        self._next_n += 1
        self._emit(Commit(entry))

    def _prove(self) -> None:
        """Append an empty entry: whoever has a successor learns it now."""
        if self.given_up or self._probe:
            return
        self._probe = True
        self._commit(Batch())

    def _keep(self, batch: Batch, now: Moment) -> None:
        if not batch.letters:
            self._publish(batch, now)
            return
        batch.phase = Phase.KEEPING
        self._emit(Keep(tuple(batch.letters)))

    def _publish(self, batch: Batch, now: Moment) -> None:
        batch.phase = Phase.PUBLISHING
        if not batch.outgoing:
            self._done(batch, now)
        elif self.connected_now:
            self._send(batch)

    def _send(self, batch: Batch) -> None:
        # Numbered, so that an answer which a cut connection still brought is not taken for that of a later batch.
        self._sent += 1
        metrics.OUTGOING.labels(self.group).inc(len(batch.outgoing))
        self._emit(Publish(tuple(batch.outgoing), self._sent))

    def _done(self, batch: Batch, now: Moment) -> None:
        self._published = max(self._published, batch.n)
        if batch.handles:
            self._emit(Ack(tuple(batch.handles)))
        metrics.BATCH_SECONDS.observe((now.steady - batch.since) / 1000)
        batch.unpin()
        self._flight = None

    def _give_up(self, reason: str) -> None:
        self.given_up = reason
        self._effects.clear()
        self._emit(GiveUp(reason))

    # After a take-over.

    def _recover(self, entries: Sequence[JournalEntry]) -> None:
        """Load the conversations of entries that were perhaps not published."""
        if not entries:
            return
        self._published = min(entry.n for entry in entries) - 1
        self._recovering = tuple(entries)
        self._flight = batch = Batch()
        batch.phase = Phase.RECOVERING
        batch.n = max(entry.n for entry in entries)
        self._at = max(self._at, *(entry.at for entry in entries))
        said = [*(row.conv for entry in entries for row in entry.rows)]
        said += [move.conv for entry in entries for move in entry.marks]
        for conv in dict.fromkeys(said):
            slot = self._slots.take(conv)
            batch.take(slot, Decision())
            slot.blocked = True
            self._to_load.append(slot)

    def _recovered(self, now: Moment) -> None:
        """Publish them again, as the stored rows and windows say."""
        batch = self._flight
        if batch is None or batch.phase is not Phase.RECOVERING:
            return
        states = {slot.conv: slot.state for slot in batch.touched.values()}
        if any(state is None for state in states.values()):
            return
        for entry in self._recovering:
            for row in entry.rows:
                state = states[row.conv]
                assert state is not None
                batch.send(outgoing.entry(row, state.members, state.members))
            for move in entry.marks:
                state = states[move.conv]
                if state is not None and move.shown:
                    batch.send(outgoing.receipt(move, told_of(state, move)))
        self._recovering = ()
        batch.since = now.steady
        self._publish(batch, now)

    # Going on.

    def _advance(self, now: Moment) -> None:
        if self.given_up:
            return
        self._load(now)
        self._recovered(now)
        while True:
            self._fill(now)
            if self._flight is not None or self._probe or self._filling.is_empty:
                break
            self._seal(now)
        asked = self._people.question()
        if asked:
            self._emit(AskPeople(asked))

    def _load(self, now: Moment) -> None:
        while self._to_load and self._loading < self._bounds.loads:
            slot = self._to_load.popleft()
            self._loading += 1
            self._emit(Load(slot.conv, max(self._at, now.wall) - KEPT_MS))

    def _unblock(self, slot: Slot) -> None:
        slot.blocked = False
        if slot.waiting:
            self._ready[slot.conv] = slot

    def _drop_waiting(self) -> None:
        for slot in self._slots.all():
            slot.waiting.clear()
        self._ready.clear()
        self._questions.clear()
        self._waiting = 0

    def _tell_receipt(self, move: MarkMove) -> None:
        slot = self._slots.get(move.conv)
        if slot is not None and slot.state is not None:
            self._filling.send(outgoing.receipt(move, told_of(slot.state, move)))

    def _tell_presence(self, told: Told) -> None:
        self._tell(outgoing.presence(told.notice, told.watchers))

    def _tell(self, messages: list[Outbound]) -> None:
        if messages and self.connected_now:
            self._emit(Tell(tuple(messages)))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)


def _command_key(item: Item) -> bytes:
    command = item.command
    assert command is not None
    return digest(command.user, command.id, command.conv, command.verb, bytes(command.args))


def _who(sender: Sender | None) -> str:
    return sender.user if sender else ""
