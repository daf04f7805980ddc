"""The owner of a lane group as a process sees it: a thin asyncio shell around `LaneGroup`.

Rules
- Order of life: fence (so that no predecessor can commit), connect (which cuts its session), serve.
- It carries effects out and tells results. Every request to the store is repeated until it is answered; a commit is
  repeated with the same entry. Meanwhile nothing is acknowledged, and `troubles` says why the group is not ready.
- A lost link is connected again only after the ownership is proved. A successor found: the group is given up for good.
- A failure that is nobody's outage is a bug of ours: the group begins anew, from what is committed, as after a crash.
- Clock (ms UTC), jitter and names are given; waiting is asyncio's. No threads: it runs on virtual time as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, assert_never

from msgspec import Struct

from bridge import metrics, requests
from bridge.asking import Question
from bridge.batch import Bounds
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
from bridge.lanegroup import LaneGroup
from bridge.rates import MessageRates
from bridge.retrying import Retrying, pause
from stores.ports.deadletters import DeadLetters
from stores.ports.directory import Directory, LastSeen
from stores.ports.log import LogReader, LogWriter
from tidings.protocol import topics
from tidings.protocol.errors import Code, LinkLost, Refusal, StoreUnavailable
from tidings.protocol.ids import Group, MessageId, UserId
from tidings.protocol.link import Inbound, Link

log = logging.getLogger(__name__)

READS: Final = 32
"""Reads of the store at a time, of one lane group."""
_PAGE: Final = 500


class Stores(Struct, frozen=True):
    """The stores that a lane group works with."""

    writer: LogWriter
    reader: LogReader
    directory: Directory
    deadletters: DeadLetters
    last_seen: LastSeen


class Surroundings(Struct, frozen=True):
    """What is not deterministic, given from outside. `clock` ms UTC; `jitter` in [0, 1); `new_id` names texts that came
    without an id; `name` is unique among processes."""

    clock: Callable[[], int]
    jitter: Callable[[], float]
    new_id: Callable[[], MessageId]
    name: str


class Owner:
    """One lane group's life: `run` until `stop`, or until it is given up."""

    def __init__(
        self,
        group: Group,
        stores: Stores,
        link: Link,
        surroundings: Surroundings,
        bounds: Bounds | None = None,
        messages: MessageRates | None = None,
    ) -> None:
        self.group = group
        self.troubles: dict[str, str] = {"serve": "starting"}
        """Why the group is not ready, by what cannot be done; empty when it is."""
        self._stores = stores
        self._link = link
        self._around = surroundings
        self._bounds = bounds or Bounds()
        self._messages = messages
        self._retrying = Retrying(surroundings.jitter, self.troubles)
        self._machine: LaneGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads = asyncio.Semaphore(READS)
        self._changed = asyncio.Event()
        self._link_is_lost = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._heard = False
        self._serving = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0

    # Life.

    async def run(self) -> None:
        """Fence, connect and serve; ends when the group is given up, or by `stop`. After a failure of ours (a bug) it
        begins anew, as a new process would."""
        failed = 0
        while True:
            try:
                await self._live()
            except Exception as error:
                self._fail(error)
            if self._failure is None:
                return
            self.troubles["serve"] = f"it failed and begins anew: {self._failure!r}"
            await self.abandon()
            await self._link.close()
            await asyncio.sleep(pause(failed, self._around.jitter()))
            failed += 1
            self._failure = None

    async def _live(self) -> None:
        """One life: from the fence to the end."""
        opened = await self._retrying.until_done("open the journal", self._open)
        self._machine = LaneGroup(
            self.group,
            opened,
            self._now(),
            owner=self._around.name,
            new_id=self._around.new_id,
            bounds=self._bounds,
            messages=self._messages,
        )
        self._go_on()
        while not self._is_over():
            await self._serve(self._machine)
        if self._failure is None:
            await self._link.close()

    async def _serve(self, machine: LaneGroup) -> None:
        """Connect, and serve until the link is lost."""
        await self._retrying.until_done("connect to the broker", self._connect)
        if self._is_over():
            return
        self.troubles.pop("serve", None)
        metrics.READY.labels(self.group).set(1)
        self._serving.set()
        self._feed(machine.connected)
        await self._until(lambda _: self._link_is_lost or self._is_over())
        metrics.READY.labels(self.group).set(0)

    def _is_over(self) -> bool:
        given_up = self._machine is not None and bool(self._machine.given_up)
        return self._stopping or given_up or self._failure is not None

    async def served(self) -> None:
        """Wait until the group is served for the first time."""
        await self._serving.wait()

    async def stop(self) -> None:
        """Finish what was decided: commit, publish, acknowledge; then close the link. Cancel `run` afterwards."""
        machine = self._machine
        if machine is not None and not machine.given_up and machine.connected_now:
            self._feed(machine.drain)
            await self._until(lambda machine: machine.idle or self._link_is_lost or self._is_over())
        self._stopping = True
        self._changed.set()
        await self._link.close()

    async def abandon(self) -> None:
        """End all work at once, as a crash would; what is not acknowledged comes again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self) -> Any:
        return await self._stores.writer.open(self.group, self._around.name, self._around.clock())

    async def _connect(self) -> None:
        """Connect, once the ownership is proved; nothing when it is over."""
        await self._until(lambda machine: machine.proved or self._is_over())
        if self._is_over():
            return
        self._link_is_lost = False
        self._heard = False
        try:
            await self._link.connect(topics.bridge_subscriptions(self.group), self._receive, self._lost)
            if self._link_is_lost:
                raise LinkLost("lost while connecting")
        except LinkLost:
            if self._heard and self._machine is not None:
                self._feed(self._machine.lost)
            raise

    async def _until(self, reached: Callable[[LaneGroup], bool]) -> None:
        assert self._machine is not None
        while not reached(self._machine):
            self._changed.clear()
            await self._changed.wait()

    # What comes from the link.

    def _receive(self, messages: Sequence[Inbound]) -> None:
        assert self._machine is not None
        self._heard = True
        self._feed(self._machine.receive, messages)

    def _lost(self) -> None:
        if self._link_is_lost:
            return
        self._link_is_lost = True
        self.troubles["serve"] = "the link to the broker is lost"
        if self._machine is not None and self._machine.connected_now:
            self._feed(self._machine.lost)
        self._changed.set()

    # Effects.

    def _feed(self, result: Callable[..., None], *told: object) -> None:
        if self._failure is not None:
            return  # what a failed machine decides is not to be believed
        try:
            result(*told, self._now())
            self._go_on()
        except Exception as error:  # whoever tells us, the broker or a timer, must not fail by our failure
            self._fail(error)

    def _go_on(self) -> None:
        machine = self._machine
        assert machine is not None
        for effect in machine.take():
            self._do(machine, effect)
        self._changed.set()
        self._arm(machine)

    def _do(self, machine: LaneGroup, effect: Effect) -> None:
        match effect:
            case Ack(handles):
                self._link.ack(handles)
            case Commit():
                self._spawn(self._commit(machine, effect))
            case Publish():
                self._spawn(self._publish(machine, effect))
            case Tell(messages):
                self._spawn(self._tell(messages))
            case Keep():
                self._spawn(self._keep(machine, effect))
            case GiveUp(reason):
                log.error("given up: %s", reason)
                self.troubles["serve"] = reason
            case KeepSeen(seen):
                self._spawn(self._keep_seen(seen))
            case Load() | FindId() | FindRow() | FindHidden() | AskPeople() | Answer() | LookAt():
                self._spawn(self._read(machine, effect))
            case _:
                assert_never(effect)

    async def _commit(self, machine: LaneGroup, effect: Commit) -> None:
        outcome = await self._retrying.until_done("commit", lambda: self._stores.writer.commit(effect.entry))
        self._feed(machine.committed, outcome)

    async def _publish(self, machine: LaneGroup, effect: Publish) -> None:
        try:
            await self._link.publish(effect.messages)
        except LinkLost:
            return  # given again after `connected`
        self._feed(machine.published, effect.number)

    async def _tell(self, messages: Sequence[Any]) -> None:
        try:
            await self._link.publish(messages)
        except LinkLost:
            metrics.DROPPED.labels("link lost").inc(len(messages))

    async def _keep(self, machine: LaneGroup, effect: Keep) -> None:
        await self._retrying.until_done("keep dead letters", lambda: self._stores.deadletters.put(list(effect.letters)))
        self._feed(machine.kept)

    async def _keep_seen(self, seen: dict[UserId, int]) -> None:
        try:
            await self._stores.last_seen.put(seen)
        except StoreUnavailable:
            metrics.DROPPED.labels("last seen not kept").inc(len(seen))

    async def _read(self, machine: LaneGroup, effect: Effect) -> None:
        async with self._reads:
            match effect:
                case Load(conv, since):
                    snapshot = await self._again("load", lambda: self._stores.writer.load(conv, ids_since=since))
                    self._feed(machine.loaded, conv, snapshot)
                case FindId(key):
                    record = await self._again("look ids up", lambda: self._stores.writer.find_id(key))
                    self._feed(machine.found_id, key, record)
                case FindRow(conv, seq):
                    rows = await self._again("read rows", lambda: self._stores.reader.rows(conv, seq, seq))
                    self._feed(machine.found_row, conv, seq, rows[0] if rows else None)
                case FindHidden():
                    hidden = await self._again("read rows", lambda: self._hidden(effect))
                    self._feed(machine.found_hidden, effect.conv, effect.low, hidden)
                case AskPeople(users):
                    people = await self._again("ask the directory", lambda: self._stores.directory.people(users))
                    self._feed(machine.told_people, users, people)
                case Answer(question):
                    self._feed(machine.answered, question, await self._answer(question))
                case LookAt():
                    await self._look(machine, effect)

    async def _again(self, what: str, attempt: Callable[[], Awaitable[Any]]) -> Any:
        return await self._retrying.until_done(what, attempt)

    async def _hidden(self, effect: FindHidden) -> dict[UserId, frozenset[int]]:
        hidden: dict[UserId, set[int]] = {}
        for low in range(effect.low, effect.high + 1, _PAGE):
            for row in await self._stores.reader.rows(effect.conv, low, min(effect.high, low + _PAGE - 1)):
                for user in row.hidden_for:
                    hidden.setdefault(user, set()).add(row.seq)
        return {user: frozenset(seqs) for user, seqs in hidden.items()}

    async def _answer(self, question: Question) -> Any:
        try:
            return await requests.answer(self._stores.reader, question)
        except Refusal as refusal:
            return refusal
        except StoreUnavailable:
            return Refusal(Code.UNAVAILABLE, retry_after=1.0)

    async def _look(self, machine: LaneGroup, effect: LookAt) -> None:
        users = frozenset(effect.users)
        try:
            people = await self._stores.directory.people(users)
            seen = await self._stores.last_seen.get(users)
        except StoreUnavailable:
            return  # the watcher asks again within 60 s
        self._feed(machine.looked_at, effect.watcher, people, seen)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """A bug: what was decided is not told, and nothing goes on. Begin anew, from what is committed."""
        log.error("lane group %s failed", self.group, exc_info=error)
        if self._failure is None:
            self._failure = error
        self._changed.set()

    # Time.

    def _now(self) -> Moment:
        return Moment(self._around.clock(), int(asyncio.get_running_loop().time() * 1000))

    def _arm(self, machine: LaneGroup) -> None:
        due = machine.wake_at()
        if due is None or (self._timer is not None and self._timer_at <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer_at = due
        self._timer = loop.call_later(max(0.001, due / 1000 - loop.time() + 0.001), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._machine is not None:
            self._feed(self._machine.tick)
