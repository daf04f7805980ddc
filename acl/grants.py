"""A principal's grants, compiled: role template and token claim become tests of topics and filters.

Rules
- Compiled once for each (role, ids, claim) and kept in a bounded cache; a decision then costs about a microsecond.
- Every `Decision` names the rule that gave it, for `explain`.
- What a device says under `u/{user}/{device}/` must be in the shape that some bridge has subscribed. Otherwise a broker
  would take it, and acknowledge it, though nobody keeps it (promise 1).
- A subscription is stopped by a deny that it merely touches, and allowed only by a grant that covers all of it.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from acl import filters
from acl.decisions import Decision, Principal
from acl.roles import ROLES, Role
from tidings.protocol import ids, topics
from tidings.protocol.ids import Group

_COMPILED: Final = 20_000
"""Compiled principals kept at most: twice a broker's connections; the rest is compiled again."""

_NO_GRANT_PUBLISH: Final = Decision(False, "default: no grant allows this publish")
_NO_GRANT_SUBSCRIBE: Final = Decision(False, "default: no grant covers all of this filter")
_NOT_A_TOPIC: Final = Decision(False, "not a topic name")
_NOT_A_FILTER: Final = Decision(False, "not a topic filter")
_RETAIN: Final = Decision(False, "retained messages are denied")
_QOS: Final = Decision(False, "this QoS is denied")
_UNHEARD: Final = Decision(False, "no bridge hears this topic: its word, lane or number of levels is wrong")
_WORDS: Final = ("out", "to", "do", "state")

Rule = tuple[Callable[[str], bool], Decision]


class Grants(NamedTuple):
    """The compiled rules of one principal. Denies come first."""

    role: Role
    publish: tuple[Rule, ...]
    subscribe: tuple[Rule, ...]


def may_publish(principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
    """Decide a publish, or a will."""
    grants = _of(principal)
    if "+" in topic or "#" in topic or not topic or "\0" in topic:
        return _NOT_A_TOPIC
    if retain and not grants.role.retain:
        return _RETAIN
    if qos > grants.role.qos:
        return _QOS
    for applies, decision in grants.publish:
        if applies(topic):
            return decision if not decision.allowed or grants.role.internal or _is_heard(topic) else _UNHEARD
    return _NO_GRANT_PUBLISH


def _is_heard(topic: str) -> bool:
    """Tell whether a bridge has subscribed this topic of a device; other topics are not bridges' business."""
    levels = topic.split("/", 5)
    if len(levels) < 4 or levels[0] != "u" or levels[3] not in _WORDS:
        return True
    return len(levels) > 4 and any(hears(topic) for hears in _HEARD.get(levels[4], ()))


def may_subscribe(principal: Principal, topic_filter: str) -> Decision:
    """Decide a subscription."""
    if not filters.is_filter(topic_filter):
        return _NOT_A_FILTER
    for applies, decision in _of(principal).subscribe:
        if applies(topic_filter):
            return decision
    return _NO_GRANT_SUBSCRIBE


def _heard_by_lane() -> dict[str, tuple[Callable[[str], bool], ...]]:
    return {
        lane: tuple(
            filters.matcher(pattern)
            for pattern in topics.bridge_subscriptions(ids.group_of(lane))
            if pattern.startswith("u/") and lane in pattern.split("/")
        )
        for lane in ids.LANES
    }


_HEARD: Final = _heard_by_lane()
"""The filters of the bridges' sessions, compiled, by lane."""


def _of(principal: Principal) -> Grants:
    return _compiled(principal.role, principal.user, principal.device, principal.allow, principal.deny)


@lru_cache(maxsize=_COMPILED)
def _compiled(
    name: str, user: str, device: str, allow: tuple[tuple[str, str], ...], deny: tuple[tuple[str, str], ...]
) -> Grants:
    role = ROLES.get(name, Role())

    def expand(action: str, effect: str, patterns: Iterable[str], claim: tuple[tuple[str, str], ...]) -> list[Rule]:
        of_role = ((pattern, f"role {name}") for pattern in patterns)
        of_token = ((pattern, "token") for wanted, pattern in claim if wanted in (action, "all"))
        return [
            (_test(action, effect, filled), Decision(effect == "allow", f"{source}: {effect} {action} {pattern}"))
            for pattern, source in (*of_role, *of_token)
            for filled in _filled(pattern, user, device, literal=source == "token")
        ]

    return Grants(
        role,
        (*expand("publish", "deny", role.deny_publish, deny), *expand("publish", "allow", role.publish, allow)),
        (*expand("subscribe", "deny", role.deny_subscribe, deny), *expand("subscribe", "allow", role.subscribe, allow)),
    )


def _test(action: str, effect: str, pattern: str) -> Callable[[str], bool]:
    if action == "publish":
        return filters.matcher(pattern)
    if effect == "allow":
        return lambda wanted: filters.covers(pattern, wanted)
    return lambda wanted: filters.overlaps(pattern, filters.unshared(wanted))


def _filled(pattern: str, user: str, device: str, *, literal: bool) -> list[str]:
    if literal:
        return [pattern]
    if "{lane}" in pattern:
        return [pattern.format(lane=lane) for lane in ids.lanes_of(Group(device))]
    return [pattern.format(user=user, device=device, process=device)]
