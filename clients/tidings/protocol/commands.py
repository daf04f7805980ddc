"""Commands on conversations that come by HTTP: the verbs of `s/{lane}/do` and their arguments.

Rules: a command's id is its idempotency key; the owner answers a repeat with the first outcome. `COMMANDS` is the
table of
verbs; an unknown verb is refused (`unsupported`).
"""

from typing import Final

from tidings.protocol.ids import UserId
from tidings.protocol.payloads import SendMessage, Wire


class CreateGroup(Wire, frozen=True):
    """`group.create`. `history`: do new members see the last 100 entries?"""

    name: str
    members: tuple[UserId, ...] = ()
    description: str = ""
    history: bool = True


class ChangeGroup(Wire, frozen=True):
    """`group.change`: what is None stays."""

    name: str | None = None
    description: str | None = None
    history: bool | None = None


class AddMembers(Wire, frozen=True):
    """`member.add`, by an admin."""

    members: tuple[UserId, ...]


class RemoveMember(Wire, frozen=True):
    """`member.remove`, by an admin; of oneself it is leaving."""

    user: UserId


class SetRole(Wire, frozen=True):
    """`member.role`, by an admin: `admin` or `member`."""

    user: UserId
    role: str


class MarkRead(Wire, frozen=True):
    """`receipt`: by HTTP for those who cannot hold a connection."""

    kind: str
    to: int


COMMANDS: Final[dict[str, type[Wire]]] = {
    "message.send": SendMessage,
    "group.create": CreateGroup,
    "group.change": ChangeGroup,
    "member.add": AddMembers,
    "member.remove": RemoveMember,
    "member.role": SetRole,
    "receipt": MarkRead,
}
