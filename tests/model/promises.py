"""What every state must keep (design, promises 1 and 2)."""

from tests.model.state import State, shown


def broken(state: State) -> str:
    """Tell the promise that a state breaks; empty: none."""
    ids: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for seq, id_ in state.seen:
        if ids.setdefault(seq, id_) != id_:
            return f"two contents were seen at {seq}: {ids[seq]} and {id_}"
    for seq, id_ in (*state.seen, *state.acked):
        if numbers.setdefault(id_, seq) != seq:
            return f"{id_} is doubled, at {numbers[id_]} and {seq}"
    log = shown(state)
    for seq, id_ in state.acked:
        if log.get(seq) != id_:
            return f"{id_}@{seq} was acknowledged, but the log has {log.get(seq, 'nothing')} there"
    if len(log) != max(log, default=0):
        return f"the log has a hole: {sorted(log)}"
    return ""
