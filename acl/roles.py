"""What each role may say where: one table, from which everything else is computed.

Rules
- Deny by default; a deny wins over every allow of role or token.
- `{user}`, `{device}`, `{process}` stand for the principal's own ids, whose forms have no wildcard; `{lane}` stands for
  each of the 16 lanes of a bridge's lane group, so such a pattern is sixteen.
- A device publishes under its own `u/{user}/{device}/` alone, and there only the four words; it never retains, and QoS
  2 is not offered (promise 5). Its topics must be heard by a bridge (`grants.py`), which checks the rest and answers.
"""

from typing import Final, NamedTuple


class Role(NamedTuple):
    """A row of the table: patterns by action, and the highest QoS of a publish. `retain`: may it keep retained
    messages? `internal`: one of our own processes, under a client id of its own form."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    deny_publish: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()
    qos: int = 1
    retain: bool = False
    internal: bool = False


_DEVICE: Final = Role(
    publish=(
        "u/{user}/{device}/out/#",
        "u/{user}/{device}/to/#",
        "u/{user}/{device}/do/#",
        "u/{user}/{device}/state/+",
    ),
    subscribe=("u/{user}/in/#", "u/{user}/{device}/in/#", "ch/+"),
)

ROLES: Final[dict[str, Role]] = {
    "device": _DEVICE,
    "person": _DEVICE,
    "bridge": Role(
        publish=("u/+/in/+", "u/+/+/in/+", "ch/+", "s/api/+/re", "s/+/do"),
        subscribe=(
            "u/+/+/out/{lane}/+/+",
            "u/+/+/to/{lane}/#",
            "u/+/+/do/{lane}/+",
            "u/+/+/state/{lane}",
            "s/{lane}/do",
        ),
        internal=True,
    ),
    "service": Role(publish=("s/+/do",), subscribe=("s/api/{process}/re",), internal=True),
    "admin": Role(subscribe=("$SYS/#", "s/#"), deny_publish=("#",), deny_subscribe=("u/#",)),
}
"""`device` a thing, `person` a human's phone or browser: the same rights on MQTT. `bridge` the owner of one lane group,
`service` one API process. `admin` looks at the system's own topics, and at nobody's messages."""
