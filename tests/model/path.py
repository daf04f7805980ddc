"""The steps of the write path: what may happen next in a state of the model.

Rules (design, promise 3)
- rows → journal → id index → head → publish and acknowledge; each step is known to have landed before the next is sent.
- A new owner appends a fence, loads what the journal says, finishes what its predecessor left, and only then serves.
- `Path` turns rules off, one by one, to see that each is needed: a model that finds nothing wrong with a path that is
  wrong proves nothing.
"""

from collections.abc import Iterator
from itertools import permutations, takewhile
from typing import NamedTuple, assert_never

from tests.model.state import (
    Append,
    Batch,
    Entry,
    Numbered,
    Owner,
    Phase,
    PutHead,
    PutId,
    PutRows,
    Request,
    Row,
    State,
    shown,
)

Step = tuple[str, State]


class Path(NamedTuple):
    """Bounds of the search, and the rules; every default is the design's."""

    owners: int = 3
    messages: str = "AB"
    batch: int = 2
    tail: int = 1  # ids that an owner knows from the log's end when it has loaded; the others it looks up
    split: bool = False  # each row in a partition of its own: parts of a batch land apart
    journal: bool = True  # False: epochs alone; an owner whose rows landed looks whether it still holds the lease
    finish: bool = True  # False: a new owner leaves unfinished entries as they are
    head_last: bool = True  # False: index and head are sent together
    ack_last: bool = True  # False: senders are told as soon as the rows have landed
    renumber: bool = False  # True: an owner that hears no outcome drops the batch and numbers anew


def start(path: Path) -> State:
    """Tell the state before anything has happened."""
    return State(owners=(Owner(),) * path.owners)


def steps(path: Path, state: State) -> Iterator[Step]:
    """List everything that may happen next."""
    for request in state.sent:
        yield _land(state, request)
    log = frozenset(Numbered(seq, id_) for seq, id_ in shown(state).items())
    if not log <= state.seen:
        yield f"a reader sees {_said(tuple(sorted(log)))}", state._replace(seen=state.seen | log)
    for epoch, owner in enumerate(state.owners, 1):
        yield from _owner_steps(path, state, epoch, owner)


def _land(state: State, request: Request) -> Step:
    """Let one request land at the store."""
    after = state._replace(sent=state.sent - {request})
    match request:
        case PutRows(rows=rows):
            keys = {(row.seq, row.epoch) for row in rows}
            others = {row for row in state.rows if (row.seq, row.epoch) not in keys}
            landed = ", ".join(f"{row.id}@{row.seq} of epoch {row.epoch}" for row in rows)
            return f"rows land: {landed}", after._replace(rows=frozenset(others | set(rows)))
        case Append(n=n, entry=entry):
            if n != len(state.journal):
                return f"owner {entry.epoch}'s append at {n} finds another entry", after
            return f"owner {entry.epoch}'s append at {n} lands", after._replace(journal=(*state.journal, entry))
        case PutId(message=message):
            rest = {other for other in state.ids if other.id != message.id}
            return f"index lands: {message.id}@{message.seq}", after._replace(ids=frozenset({*rest, message}))
        case PutHead(seq=seq):
            return f"head lands: {seq}", after._replace(head=max(state.head, seq))
        case _:
            assert_never(request)


def _owner_steps(path: Path, state: State, epoch: int, owner: Owner) -> Iterator[Step]:
    """List what one owner may do next."""
    if owner.phase is Phase.NEW:
        if len({entry.epoch for entry in state.journal if not entry.batch}) == epoch - 1:  # epochs are taken in order
            yield _fence(state, epoch)
    elif owner.phase is Phase.FENCED:
        yield _load(path, state, epoch, owner)
    elif owner.phase is Phase.IDLE:
        yield from _serve(path, state, epoch, owner)
        yield f"owner {epoch} evicts", state.with_owner(epoch, Owner(Phase.FENCED, owner.n, wave=owner.wave))
    elif _waits(state, epoch, owner):
        if path.renumber and owner.phase in (Phase.ROWS, Phase.APPEND):
            again = owner._replace(phase=Phase.IDLE, batch=())
            yield f"owner {epoch} hears nothing, drops {_said(owner.batch)}", state.with_owner(epoch, again)
    else:
        yield from _go_on(path, state, epoch, owner)


def _fence(state: State, epoch: int) -> Step:
    n = len(state.journal)
    after = state._replace(journal=(*state.journal, Entry(epoch, ())))
    return f"owner {epoch} fences at {n}", after.with_owner(epoch, Owner(Phase.FENCED, n + 1))


def _load(path: Path, state: State, epoch: int, owner: Owner) -> Step:
    """Load what was committed, and finish what lies above the stored head."""
    committed = _journalled(state, owner) if path.journal else _rows_of_all_epochs(state)
    head = max((message.seq for message in committed), default=0)
    behind = tuple(message for message in committed if message.seq > state.head)
    known = frozenset(message for message in committed if message.seq > head - path.tail) | frozenset(behind)
    loaded = owner._replace(head=head, known=known)
    if not (behind and path.finish):
        return f"owner {epoch} loads, head {head}", state.with_owner(epoch, loaded._replace(phase=Phase.IDLE))
    finishing = loaded._replace(phase=Phase.DERIVED, batch=behind, wave=owner.wave + 1)
    return (
        f"owner {epoch} loads, head {head}, and finishes {_said(behind)}",
        state.with_owner(epoch, finishing, *_derived(path, epoch, finishing)),
    )


def _journalled(state: State, owner: Owner) -> Batch:
    return tuple(message for entry in state.journal[: owner.n] for message in entry.batch)


def _rows_of_all_epochs(state: State) -> Batch:
    """Without a journal: the rows there are, the highest epoch of each number, as far as there is no hole."""
    log = shown(state._replace(head=max((row.seq for row in state.rows), default=0)))
    whole = takewhile(lambda pair: pair[0] == pair[1], enumerate(sorted(log), 1))
    return tuple(Numbered(seq, log[seq]) for seq, _ in whole)


def _serve(path: Path, state: State, epoch: int, owner: Owner) -> Iterator[Step]:
    """Take messages: number those that are fresh, answer a repeat at its number."""
    numbers = {message.id: message.seq for message in (*state.ids, *owner.known)}
    for count in range(1, path.batch + 1):
        for ids in permutations(path.messages, count):
            fresh = [id_ for id_ in ids if id_ not in numbers]
            if len(fresh) == count:
                batch = tuple(Numbered(owner.head + place, id_) for place, id_ in enumerate(ids, 1))
                yield _send_rows(path, state, epoch, owner, batch)
            elif count == 1 and numbers[ids[0]] <= owner.head:
                again = frozenset({Numbered(numbers[ids[0]], ids[0])})
                told = state._replace(seen=state.seen | again, acked=state.acked | again)
                yield f"owner {epoch} answers the repeat {_said(tuple(again))}", told


def _send_rows(path: Path, state: State, epoch: int, owner: Owner, batch: Batch) -> Step:
    sending = owner._replace(phase=Phase.ROWS, batch=batch, wave=owner.wave + 1)
    rows = tuple(Row(message.seq, epoch, message.id) for message in batch)
    parts = [(row,) for row in rows] if path.split else [rows]
    requests = (PutRows(epoch, sending.wave, part) for part in parts)
    return f"owner {epoch} sends the rows {_said(batch)}", state.with_owner(epoch, sending, *requests)


def _go_on(path: Path, state: State, epoch: int, owner: Owner) -> Iterator[Step]:
    """What was sent has landed: take the next step of the path."""
    batch = owner.batch
    entry = Entry(epoch, batch)
    if owner.phase is Phase.ROWS and path.journal:
        after = state if path.ack_last else _told(state, batch)
        sending = owner._replace(phase=Phase.APPEND, wave=owner.wave + 1)
        request = Append(epoch, sending.wave, owner.n, entry)
        yield f"owner {epoch} appends {_said(batch)} at {owner.n}", after.with_owner(epoch, sending, request)
    elif owner.phase in (Phase.ROWS, Phase.APPEND):
        holds = state.journal[owner.n : owner.n + 1] == (entry,) if path.journal else state.journal[-1].epoch == epoch
        if holds:  # otherwise it has a successor, and gives the group up
            yield _derive(path, state, epoch, owner)
    elif owner.phase is Phase.DERIVED and path.head_last:
        sending = owner._replace(phase=Phase.HEAD, wave=owner.wave + 1)
        request_head = PutHead(epoch, sending.wave, batch[-1].seq)
        yield f"owner {epoch} sends the head {batch[-1].seq}", state.with_owner(epoch, sending, request_head)
    else:
        idle = owner._replace(phase=Phase.IDLE, batch=())
        yield f"owner {epoch} publishes and acknowledges {_said(batch)}", _told(state, batch).with_owner(epoch, idle)


def _derive(path: Path, state: State, epoch: int, owner: Owner) -> Step:
    committed = owner._replace(
        phase=Phase.DERIVED,
        n=owner.n + 1 if path.journal else owner.n,
        head=owner.batch[-1].seq,
        known=owner.known.union(owner.batch),
        wave=owner.wave + 1,
    )
    requests = _derived(path, epoch, committed)
    return f"owner {epoch} has committed, sends the index", state.with_owner(epoch, committed, *requests)


def _derived(path: Path, epoch: int, owner: Owner) -> list[Request]:
    requests: list[Request] = [PutId(epoch, owner.wave, message) for message in owner.batch]
    if not path.head_last:
        requests.append(PutHead(epoch, owner.wave, owner.batch[-1].seq))
    return requests


def _waits(state: State, epoch: int, owner: Owner) -> bool:
    return any(request.owner == epoch and request.wave == owner.wave for request in state.sent)


def _told(state: State, batch: Batch) -> State:
    return state._replace(seen=state.seen.union(batch), acked=state.acked.union(batch))


def _said(batch: Batch) -> str:
    return " ".join(f"{message.id}@{message.seq}" for message in batch)
