"""The desk: orders on conversations wait here for what deciding needs, are decided in order, and go into the batch.

Rules
- Orders of one conversation are carried out in the order they came; conversations do not wait for one another.
- A conversation is loaded on first touch; people, ids and old rows are looked up when an order needs them. One look-up
  a conversation is on its way; the first waiting order goes on when it is answered.
- What was decided is applied to the state at once, ahead of the commit: see `pipeline`.
- Rates are taken for what is fresh alone: a repeat costs its sender nothing.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from bridge import metrics, outgoing
from bridge.audience import told_of
from bridge.batch import Bounds
from bridge.conversation import Found, blockers, concerned, decide
from bridge.decision import Decision, NeedId, NeedRows, Repeat
from bridge.effects import AskPeople, Effect, FindHidden, FindId, FindRow, Load, Moment, Tell
from bridge.intake import Item
from bridge.notices import Notices
from bridge.orders import Acknowledge, Alter, Order, Say, Type
from bridge.people import PeopleCache
from bridge.pipeline import Pipeline
from bridge.rates import MessageRates, Rates
from bridge.refusals import Refusals
from bridge.slots import Slot, Slots
from bridge.state import KEPT_MS, Key, Known, State
from stores.ports.directory import Person
from stores.ports.entries import MarkMove, Row, Snapshot
from tidings.protocol import limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, Group, UserId

log = logging.getLogger(__name__)


class Desk:
    """See the module's rules."""

    def __init__(
        self,
        group: Group,
        pipeline: Pipeline,
        refusals: Refusals,
        bounds: Bounds,
        emit: Callable[[Effect], None],
        messages: MessageRates | None,
    ) -> None:
        self.slots = Slots(bounds.conversations)
        self.waiting = 0
        """Orders that wait for a load, a look-up or room in a batch."""
        self.loading = 0
        self._group = group
        self._pipeline = pipeline
        self._refusals = refusals
        self._bounds = bounds
        self._emit = emit
        self._ready: dict[ConvId, Slot] = {}
        self._to_load: deque[Slot] = deque()
        self._people = PeopleCache()
        self._for_people: list[Slot] = []
        self._notices = Notices()
        self._messages = messages
        self._typing: Rates[tuple[str, str, bool]] = Rates(1, limits.TYPING_EVERY_SECONDS * 1000)

    # What comes in.

    def wait(self, item: Item, conv: ConvId) -> None:
        """Put an order at the end of its conversation's."""
        slot = self.slots.take(conv)
        slot.waiting.append(item)
        self.waiting += 1
        if slot.state is None:
            self.want(slot)
        elif not slot.blocked:
            self._ready[conv] = slot

    def want(self, slot: Slot) -> None:
        """Have a slot loaded, unless it is or will be."""
        if slot.state is None and not slot.blocked:
            slot.blocked = True
            self._to_load.append(slot)

    def forget_waiting(self) -> None:
        """Drop all that waits: its handles are gone, and it comes again."""
        for slot in self.slots.all():
            slot.waiting.clear()
        self._ready.clear()
        self.waiting = 0

    def forget_people(self) -> None:
        """Ask the directory again: what it tells of meanwhile may not have come."""
        self._people.forget()

    # What was looked up.

    def loaded(self, conv: ConvId, snapshot: Snapshot | None) -> None:
        """A conversation was loaded."""
        self.loading -= 1
        slot = self.slots.take(conv)
        slot.state = State.load(conv, snapshot)
        self._unblock(slot)

    def found_id(self, conv: ConvId, key: Key, known: Known | None) -> None:
        """The index was asked."""
        slot = self.slots.take(conv)
        slot.found.ids[key] = known
        self._unblock(slot)

    def found_row(self, conv: ConvId, seq: int, row: Row | None) -> None:
        """A row was read."""
        slot = self.slots.take(conv)
        slot.found.rows[seq] = row
        self._unblock(slot)

    def found_hidden(self, conv: ConvId, low: int, hidden: Mapping[UserId, frozenset[int]]) -> None:
        """Older rows were looked through, from `low` on."""
        slot = self.slots.take(conv)
        slot.found.hidden = dict(hidden)
        slot.found.hidden_from = low
        self._unblock(slot)

    def told_people(self, asked: frozenset[UserId], people: Mapping[UserId, Person], now: Moment) -> None:
        """The directory answered."""
        self._people.told(asked, people, now.steady)
        slots, self._for_people = self._for_people, []
        for slot in slots:
            self._unblock(slot)

    # Going on.

    def look_up(self, now: Moment) -> None:
        """Ask for what is needed, within the bounds."""
        while self._to_load and self.loading < self._bounds.loads:
            slot = self._to_load.popleft()
            self.loading += 1
            self._emit(Load(slot.conv, max(self._pipeline.at, now.wall) - KEPT_MS))
        asked = self._people.question()
        if asked:
            self._emit(AskPeople(asked))

    def fill(self, now: Moment) -> None:
        """Decide what can be decided, until the batch is full."""
        self._pipeline.reach(now.wall)
        while self._ready and not self._pipeline.filling.is_full(self._bounds):
            conv = next(iter(self._ready))
            slot = self._ready.pop(conv)
            self._decide(slot, now)
            if slot.waiting and not slot.blocked:
                self._ready[conv] = slot

    def tell_due(self, now: Moment, *, all_of_them: bool = False) -> None:
        """Tell the receipts that were held back long enough."""
        for move in self._notices.flush() if all_of_them else self._notices.due(now.steady):
            self._tell(move)

    def wake_at(self) -> int | None:
        """Tell when (steady ms) `tell_due` has something to tell."""
        return self._notices.wake_at()

    # Deciding.

    def _decide(self, slot: Slot, now: Moment) -> None:
        while slot.waiting and not self._pipeline.filling.is_full(self._bounds):
            item = slot.waiting[0]
            try:
                if not self._carry_out(slot, item, now):
                    slot.blocked = True
                    return
            except Refusal as refusal:
                self._refusals.refuse(item, refusal)
            except Exception:
                # A bug of ours in one message must not stop the group: it is kept for people to look at.
                log.exception("could not decide a message on %s", item.inbound.topic)
                self._refusals.bury(item.inbound, Refusal(Code.INTERNAL), now)
                self._refusals.refuse(item, Refusal(Code.INTERNAL))
            slot.waiting.popleft()
            slot.found = Found()
            self.waiting -= 1

    def _carry_out(self, slot: Slot, item: Item, now: Moment) -> bool:
        """Carry the order out, or tell that it waits for a look-up: False."""
        order, state = item.wish, slot.state
        assert state is not None
        assert isinstance(order, Say | Acknowledge | Type | Alter)
        if item.command is not None:
            self._refusals.check_repeat(item.command)
        if not self._knows_people(slot, state, order, now):
            self._for_people.append(slot)
            return False
        match decide(state, order, self._people.people, self._pipeline.at, slot.found):
            case NeedId(key):
                self._emit(FindId(key))
                return False
            case NeedRows(low, high):
                self._emit(FindHidden(slot.conv, low, high))
                return False
            case Repeat(seq):
                return self._repeat(slot, state, item, seq)
            case Decision() as decision:
                self._take(slot, state, item, order, decision, now)
                return True

    def _knows_people(self, slot: Slot, state: State, order: Order, now: Moment) -> bool:
        if not isinstance(order, Say | Type) or not state.head:
            return self._people.known_until(concerned(state, order), now.steady) > 0
        if slot.known_until <= now.steady or slot.generation != self._people.generation:
            slot.known_until = self._people.known_until(state.active, now.steady)
            slot.generation = self._people.generation
        return slot.known_until > 0

    def _repeat(self, slot: Slot, state: State, item: Item, seq: int) -> bool:
        """Answer what was said before, to that device alone."""
        if item.command is not None:
            self._pipeline.send((outgoing.done(item.command, seq),))
        elif item.sender is not None:
            row = state.row(seq) or self._pipeline.row(slot.conv, seq) or slot.found.rows.get(seq)
            if row is None and seq not in slot.found.rows:
                self._emit(FindRow(slot.conv, seq))
                return False
            if row is None:
                metrics.MISSING.inc()
                raise Refusal(Code.INTERNAL, "this message has a number, and its entry is missing")
            self._pipeline.send((outgoing.copy(row, item.sender),))
        metrics.REPEATS.labels(self._group).inc()
        self._refusals.finish(item.inbound)
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
            self._pipeline.filling.take(slot, decision)
            state.apply(decision)
            self._fan_out(state, decision, now)
        if item.command is not None:
            self._pipeline.send((outgoing.done(item.command, decision.seq),))
        self._refusals.finish(item.inbound)

    def _fan_out(self, state: State, decision: Decision, now: Moment) -> None:
        users = state.active
        users += tuple(member.user for member in decision.members if not member.active)
        for row in decision.rows:
            self._pipeline.send(outgoing.entry(row, state.members, users))
        if decision.rows:
            self._pipeline.reach(state.last_at)
        if decision.marks:
            for move in self._notices.take(decision.marks, now.steady):
                self._tell(move)

    def _tell(self, move: MarkMove) -> None:
        slot = self.slots.get(move.conv)
        if slot is not None and slot.state is not None:
            self._pipeline.send(outgoing.receipt(move, told_of(slot.state, move)))

    def _type(self, state: State, order: Type, now: Moment) -> None:
        active = order.typing.active
        if self._typing.take((order.device, order.conv, active), now.steady):
            metrics.DROPPED.labels("typing above its rate").inc()
            return
        hidden = blockers(state, order.user, self._people.people)
        users = [user for user in state.active if user != order.user and user not in hidden]
        if users and self._pipeline.connected:
            self._emit(Tell(tuple(outgoing.typing(order.conv, order.user, active, users))))

    def _unblock(self, slot: Slot) -> None:
        slot.blocked = False
        if slot.waiting:
            self._ready[slot.conv] = slot
