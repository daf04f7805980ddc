"""Retained messages by topic, bounded in number and bytes.

Rules
- An empty retained message deletes [MQTT-3.3.1-10]; an expired one is as good as deleted.
- A filter finds them by walking a trie of topics, so that a subscription costs by what it matches.
"""

from collections.abc import Iterator

from broker.embedded.messages import Message


class _Node:
    __slots__ = ("below", "message")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.message: Message | None = None


class Retained:
    """The retained messages, at most `most` of together `most_bytes`."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._root = _Node()
        self._most = most
        self._most_bytes = most_bytes
        self.count = 0
        self.bytes = 0

    def put(self, message: Message) -> bool:
        """Keep a message in place of its topic's last. False if there is no room."""
        old = self.get(message.topic)
        count = self.count + (old is None)
        total = self.bytes + message.size - (old.size if old is not None else 0)
        if count > self._most or total > self._most_bytes:
            return False
        node = self._root
        for level in message.topic.split("/"):
            following = node.below.get(level)
            if following is None:
                following = node.below[level] = _Node()
            node = following
        node.message = message
        self.count, self.bytes = count, total
        return True

    def get(self, topic: str) -> Message | None:
        """Find a topic's message."""
        node: _Node | None = self._root
        for level in topic.split("/"):
            node = node.below.get(level) if node is not None else None
        return node.message if node is not None else None

    def delete(self, topic: str) -> bool:
        """Forget a topic's message. False if there was none."""
        path = [self._root]
        levels = topic.split("/")
        for level in levels:
            following = path[-1].below.get(level)
            if following is None:
                return False
            path.append(following)
        message = path[-1].message
        if message is None:
            return False
        path[-1].message = None
        self.count -= 1
        self.bytes -= message.size
        for parent, level in zip(path[-2::-1], reversed(levels), strict=True):
            node = parent.below[level]
            if node.below or node.message is not None:
                break
            del parent.below[level]
        return True

    def match(self, pattern: str) -> Iterator[Message]:
        """Find the messages that a filter matches, after the rules of `subscriptions`."""
        levels = pattern.split("/")
        return _find(self._root, levels, 0)


def _find(node: _Node, levels: list[str], at: int) -> Iterator[Message]:
    if at == len(levels):
        if node.message is not None:
            yield node.message
        return
    level = levels[at]
    if level == "#":
        yield from _all(node, top=at == 0)
    elif level == "+":
        for name, below in node.below.items():
            if at or not name.startswith("$"):
                yield from _find(below, levels, at + 1)
    elif (exact := node.below.get(level)) is not None:
        yield from _find(exact, levels, at + 1)


def _all(node: _Node, *, top: bool) -> Iterator[Message]:
    if node.message is not None:
        yield node.message
    for name, below in node.below.items():
        if not (top and name.startswith("$")):
            yield from _all(below, top=False)
