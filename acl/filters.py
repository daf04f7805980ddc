"""Topic-filter algebra: what a filter matches, and whether all of it lies inside a grant.

Rules (MQTT 5, section 4.7)
- Levels are split at `/` and may be empty. `+` stands for one level, `#` for the parent and everything below; each
  fills its level, and `#` is the last.
- A wildcard at the first level matches no topic that begins with `$`.
- `covers(grant, wanted)`: every topic that `wanted` matches is matched by `grant`, over all topics there can be. A
  literal level therefore never covers `+`, however few values are in use.
- `$share/{name}/{filter}` is, to a grant, a filter whose first level is `$share`: it is covered only by a grant that
  says so. What it delivers is told by `unshared`, and a deny is held against that.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Final, NamedTuple

_MOST_BYTES: Final = 65_535
_FORBIDDEN: Final = frozenset(("\0", "\ufeff"))


class _Shape(NamedTuple):
    """A filter without its `#`: the levels before it, and whether there was one. A bare `#` is `+/#`: no topic has
    fewer levels than one."""

    levels: tuple[str, ...]
    open: bool


def is_topic(name: str) -> bool:
    """Tell whether a text is a topic name to which one can publish: no wildcards, 1–65,535 bytes, no null character."""
    return "+" not in name and "#" not in name and _is_text(name)


def is_filter(text: str) -> bool:
    """Tell whether a text is a topic filter, also of a shared subscription (MQTT 5, 4.7.1 and 4.8.2)."""
    if not _is_text(text):
        return False
    if text.startswith("$share/"):
        name, slash, rest = text.removeprefix("$share/").partition("/")
        return bool(name and slash) and is_topic(name) and not rest.startswith("$share/") and is_filter(rest)
    *upper, last = text.split("/")
    return (last == "#" or _fills(last)) and all(_fills(level) for level in upper)


def unshared(text: str) -> str:
    """Tell which messages a filter delivers: a shared subscription's own filter, any other as it is."""
    return text.split("/", 2)[2] if text.startswith("$share/") and text.count("/") >= 2 else text


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a filter (not a shared one) matches a topic name."""
    return matcher(pattern)(topic)


def covers(grant: str, wanted: str) -> bool:
    """Tell whether all of `wanted` lies inside `grant`. Both are filters; `wanted` may be a topic name too."""
    outer, inner = _shape(grant), _shape(wanted)
    if inner.open and not outer.open:
        return False
    short = len(outer.levels) < len(inner.levels)
    if len(outer.levels) > len(inner.levels) or (short and not outer.open):
        return False
    if outer.levels[0] == "+" and inner.levels[0].startswith("$"):
        return False
    return all(mine in ("+", theirs) for mine, theirs in zip(outer.levels, inner.levels, strict=False))


def overlaps(one: str, other: str) -> bool:
    """Tell whether there is a topic that both filters match: a deny of the one must then stop the other."""
    left, right = _shape(one), _shape(other)
    for first, second in ((left, right), (right, left)):
        if first.levels[0] == "+" and second.levels[0].startswith("$"):
            return False
    for mine, theirs in zip_longest(left.levels, right.levels):
        if mine is None:
            return left.open
        if theirs is None:
            return right.open
        if "+" not in (mine, theirs) and mine != theirs:
            return False
    return True


def matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a filter to a test of topic names. Literal prefixes, by far the most common grants, cost one
    comparison."""
    levels, is_open = _shape(pattern)
    if "+" not in levels:
        text = "/".join(levels)
        below = text + "/"
        return (lambda topic: topic.startswith(below) or topic == text) if is_open else text.__eq__
    return lambda topic: _match(levels, is_open, topic)


def _match(levels: tuple[str, ...], is_open: bool, topic: str) -> bool:
    names = topic.split("/")
    if len(names) < len(levels) or (len(names) > len(levels) and not is_open):
        return False
    if levels[0] == "+" and topic.startswith("$"):
        return False
    for level, name in zip(levels, names, strict=False):  # noqa: SIM110 - a generator costs twice as much here
        if level not in ("+", name):
            return False
    return True


def _shape(text: str) -> _Shape:
    levels = tuple(text.split("/"))
    if levels[-1] != "#":
        return _Shape(levels, open=False)
    return _Shape(levels[:-1] or ("+",), open=True)


def _is_text(text: str) -> bool:
    if not text or any(char in text for char in _FORBIDDEN):
        return False
    try:
        return len(text.encode()) <= _MOST_BYTES
    except UnicodeEncodeError:
        return False


def _fills(level: str) -> bool:
    return level == "+" or not ("+" in level or "#" in level)
