"""Which sessions want a topic: a trie of topic filters, after MQTT 4.7.

Rules
- `+` is one level, `#` any number of them and its parent; neither matches a first level that begins with `$`
  [MQTT-4.7.2-1].
- A session gets a message once, however many of its filters match: with the highest QoS, and all subscription ids.
- A shared subscription (`$share/{group}/{filter}`) gives each message to one member; the caller picks.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from broker.embedded.sessions import Session, Subscription

_SHARE: Final = "$share/"
_REMEMBERED: Final = 8_192
"""Topics whose receivers are remembered."""


class Shared:
    """The members of one shared subscription, and whose turn it is."""

    __slots__ = ("members", "turn")

    def __init__(self) -> None:
        self.members: dict[Session, Subscription] = {}
        self.turn = 0

    def in_turn(self) -> list[tuple[Session, Subscription]]:
        """List the members, beginning with whose turn it is, and pass the turn on."""
        members = list(self.members.items())
        self.turn = (self.turn + 1) % len(members)
        return members[self.turn :] + members[: self.turn]


class Matches(NamedTuple):
    """Who wants a topic: sessions with their subscriptions (one or more each), and shared subscriptions."""

    sessions: dict[Session, list[Subscription]]
    shared: list[Shared]


NOBODY: Final = Matches({}, [])


class _Node:
    __slots__ = ("below", "sessions", "shared")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.sessions: dict[Session, Subscription] = {}
        self.shared: dict[str, Shared] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.below or self.sessions or self.shared)


def split_share(pattern: str) -> tuple[str, str] | None:
    """Split a subscription's text into share group (or "") and filter; None for a broken `$share/…` [4.8.2]."""
    if not pattern.startswith(_SHARE):
        return "", pattern
    group, slash, rest = pattern[len(_SHARE) :].partition("/")
    if not group or not slash or not rest or "+" in group or "#" in group:
        return None
    return group, rest


class Subscriptions:
    """The trie. Matching costs by the topic's levels, not by the number of subscriptions. What was found is remembered
    until a subscription changes, for topics repeat; nobody may change it."""

    def __init__(self) -> None:
        self._root = _Node()
        self._found: dict[str, Matches] = {}

    def add(self, session: Session, subscription: Subscription) -> None:
        """Add a subscription, in place of the session's one of the same filter and group."""
        self._found.clear()
        node = self._root
        for level in subscription.filter.split("/"):
            following = node.below.get(level)
            if following is None:
                following = node.below[level] = _Node()
            node = following
        if subscription.share:
            node.shared.setdefault(subscription.share, Shared()).members[session] = subscription
        else:
            node.sessions[session] = subscription

    def remove(self, session: Session, subscription: Subscription) -> None:
        """Remove a subscription and what is empty then."""
        self._found.clear()
        path = [self._root]
        levels = subscription.filter.split("/")
        for level in levels:
            path.append(path[-1].below[level])
        node = path[-1]
        if subscription.share:
            shared = node.shared[subscription.share]
            del shared.members[session]
            if not shared.members:
                del node.shared[subscription.share]
        else:
            del node.sessions[session]
        for parent, level in zip(path[-2::-1], reversed(levels), strict=True):
            if not parent.below[level].is_empty:
                break
            del parent.below[level]

    def remove_all(self, session: Session, subscriptions: Iterable[Subscription]) -> None:
        """Remove all of a session's subscriptions."""
        for subscription in subscriptions:
            self.remove(session, subscription)

    def match(self, topic: str) -> Matches:
        """Find who wants a topic."""
        found = self._found.get(topic)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[topic] = self._match(topic)
        return found

    def _match(self, topic: str) -> Matches:
        found = Matches({}, [])
        levels = topic.split("/")
        nodes = [self._root]
        wild = not topic.startswith("$")
        for level in levels:
            following = []
            for node in nodes:
                below = node.below
                if wild:
                    if (many := below.get("#")) is not None:
                        _collect(many, found)
                    if (one := below.get("+")) is not None:
                        following.append(one)
                if (exact := below.get(level)) is not None:
                    following.append(exact)
            if not following:
                return found
            nodes = following
            wild = True
        for node in nodes:
            _collect(node, found)
            if (many := node.below.get("#")) is not None:
                _collect(many, found)
        return found


def _collect(node: _Node, found: Matches) -> None:
    sessions = found.sessions
    for session, subscription in node.sessions.items():
        if session in sessions:
            sessions[session].append(subscription)
        else:
            sessions[session] = [subscription]
    if node.shared:
        found.shared.extend(node.shared.values())
