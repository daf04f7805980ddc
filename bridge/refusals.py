"""Telling why not: errors to devices, replies to services, dead letters for people.

Rules
- Every refusal reaches whoever asked, if it can be told, before its message is acknowledged.
- What was not of the protocol is kept as a dead letter before it is acknowledged; of one device only so many a minute,
  for a device gone mad must not fill the store. It is told in any case.
- A refused command is remembered for a while, so that its repeat is answered with the first outcome; a refusal that
  may pass by itself is not.
"""

from collections import OrderedDict
from typing import Final

from bridge import metrics, outgoing
from bridge.batch import Bounds
from bridge.effects import Moment
from bridge.intake import Item, Sender, Unreadable, digest
from bridge.orders import Acknowledge, Alter, Say, Type
from bridge.pipeline import Pipeline
from bridge.rates import Rates
from stores.ports.deadletters import DeadLetter
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import Group
from tidings.protocol.link import Inbound
from tidings.protocol.payloads import Command

REMEMBERED: Final = 1_024
_MINUTE: Final = 60_000


class Refusals:
    """See the module's rules."""

    def __init__(self, group: Group, pipeline: Pipeline, bounds: Bounds) -> None:
        self._group = group
        self._bounds = bounds
        self._pipeline = pipeline
        self._letters: Rates[str] = Rates(bounds.dead_letters_a_minute, _MINUTE)
        self._remembered: OrderedDict[bytes, Refusal] = OrderedDict()

    def refuse(self, item: Item, refusal: Refusal) -> None:
        """Refuse a readable request, and be done with it."""
        metrics.REFUSED.labels(str(refusal.code)).inc()
        if item.command is not None:
            self._pipeline.send((outgoing.refused(item.command, refusal),))
            if not refusal.kind.retryable:
                self._remember(item.command, refusal)
        elif item.sender is not None and not isinstance(item.wish, Type):
            conv = item.wish.conv if isinstance(item.wish, Say | Acknowledge | Alter) else ""
            self._pipeline.send((outgoing.error(refusal, item.sender, id_=item.id, conv=conv),))
        self.finish(item.inbound)

    def refuse_unreadable(self, inbound: Inbound, unreadable: Unreadable, now: Moment) -> None:
        """Refuse what asks for nothing that can be done."""
        if not inbound.qos and self._pipeline.filling.is_full(self._bounds):
            metrics.DROPPED.labels("too much waits").inc()
            return
        refusal = unreadable.refusal
        metrics.REFUSED.labels(str(refusal.code)).inc()
        if unreadable.command is not None:
            self._pipeline.send((outgoing.refused(unreadable.command, refusal),))
        if unreadable.sender is not None:
            self._pipeline.send((outgoing.error(refusal, unreadable.sender, id_=unreadable.id),))
        if unreadable.dead and not self._letters.take(_name(unreadable.sender), now.steady):
            self.bury(inbound, refusal, now)
        self.finish(inbound)

    def overload(self, item: Item) -> None:
        """Refuse what there is no room for: with a hint to come again, or, at QoS 0, by dropping and counting it."""
        if item.inbound.qos:
            self.refuse(item, Refusal(Code.UNAVAILABLE, retry_after=1.0))
        else:
            metrics.DROPPED.labels("too much waits").inc()

    def bury(self, inbound: Inbound, refusal: Refusal, now: Moment) -> None:
        """Keep a dead letter, before the message's acknowledgement."""
        metrics.DEAD.labels(str(refusal.code)).inc()
        letter = DeadLetter(self._group, inbound.topic, inbound.payload, str(refusal.code), refusal.text, now.wall)
        self._pipeline.filling.letters.append(letter)

    def check_repeat(self, command: Command) -> None:
        """Refuse a command that was refused before, with the first outcome."""
        before = self._remembered.get(_key(command))
        if before is not None:
            raise _anew(before)

    def finish(self, inbound: Inbound) -> None:
        """Acknowledge with the batch that is being filled."""
        if inbound.qos:
            self._pipeline.filling.handles.append(inbound.handle)

    def _remember(self, command: Command, refusal: Refusal) -> None:
        self._remembered[_key(command)] = _anew(refusal)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


def _anew(refusal: Refusal) -> Refusal:
    """Make the same refusal again: one that was raised holds the frames it went through, and more each time."""
    return Refusal(refusal.code, refusal.text, retry_after=refusal.retry_after)


def _key(command: Command) -> bytes:
    return digest(command.user, command.id, command.conv, command.verb, bytes(command.args))


def _name(sender: Sender | None) -> str:
    return sender.user if sender else ""
