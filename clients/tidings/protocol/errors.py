"""One table of what can be refused, for MQTT and HTTP alike.

Rules
- A client sees a stable code and a sentence that says what to do. Codes are never renamed or reused.
- Anything a decoder or a check raises is a `Refusal`; any other exception is a bug.
- `retryable` means: the same request, byte for byte, may succeed later; clients keep it in their outbox.
- `StoreUnavailable` and its kin are the server's inner kinds; adapters translate driver errors to them.
"""

import enum
from typing import Final, NamedTuple


class Code(enum.StrEnum):
    """Stable codes of refusals, as they stand on the wire."""

    BAD_PAYLOAD = "badPayload"
    BAD_TOPIC = "badTopic"
    BAD_ID = "badId"
    BAD_VALUE = "badValue"
    TOO_LARGE = "tooLarge"
    WRONG_LANE = "wrongLane"
    WRONG_CELL = "wrongCell"
    UNKNOWN_RECIPIENT = "unknownRecipient"
    UNKNOWN_CONVERSATION = "unknownConversation"
    NOT_MEMBER = "notMember"
    NOT_ALLOWED = "notAllowed"
    ID_REUSED = "idReused"
    RATE_LIMITED = "rateLimited"
    GROUP_FULL = "groupFull"
    UNSUPPORTED = "unsupported"
    NOT_FOUND = "notFound"
    CONFLICT = "conflict"
    DEADLINE_PASSED = "deadlinePassed"
    TIMED_OUT = "timedOut"
    UNAVAILABLE = "unavailable"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "tokenExpired"  # noqa: S105 - a code's name
    WRONG_CODE = "wrongCode"
    CODE_EXPIRED = "codeExpired"
    INTERNAL = "internal"


class Kind(NamedTuple):
    """A row of the table: HTTP status, whether a retry may succeed, and what the client should do."""

    status: int
    retryable: bool
    advice: str


KINDS: Final[dict[Code, Kind]] = {
    Code.BAD_PAYLOAD: Kind(400, False, "Send a JSON object or MessagePack map of the documented form."),
    Code.BAD_TOPIC: Kind(400, False, "Publish only to the topics that the login answer names."),
    Code.BAD_ID: Kind(400, False, "Use an id exactly as the server or this library made it."),
    Code.BAD_VALUE: Kind(422, False, "Correct the named field."),
    Code.TOO_LARGE: Kind(413, False, "Shorten it; the limits are in docs/limits.md."),
    Code.WRONG_LANE: Kind(400, False, "Use the lane that the conversation's id names (characters 3 and 4)."),
    Code.WRONG_CELL: Kind(421, False, "This conversation lives in another cell; connect there."),
    Code.UNKNOWN_RECIPIENT: Kind(404, False, "Check the recipient's user id."),
    Code.UNKNOWN_CONVERSATION: Kind(404, False, "Create the conversation first, or name the recipient in 'to'."),
    Code.NOT_MEMBER: Kind(403, False, "Only members may do this; ask an admin to add you."),
    Code.NOT_ALLOWED: Kind(403, False, "Your role does not allow this."),
    Code.ID_REUSED: Kind(409, False, "Give every message a new id; this one was used with another body."),
    Code.RATE_LIMITED: Kind(429, True, "Wait 'retryAfter' seconds, then send again."),
    Code.GROUP_FULL: Kind(409, False, "Remove a member first."),
    Code.UNSUPPORTED: Kind(501, False, "This server does not offer it."),
    Code.NOT_FOUND: Kind(404, False, "Check the id."),
    Code.CONFLICT: Kind(409, False, "Read the current state and decide again."),
    Code.DEADLINE_PASSED: Kind(504, True, "Send the request again."),
    Code.TIMED_OUT: Kind(504, True, "Send the same request again; its id makes that safe."),
    Code.UNAVAILABLE: Kind(503, True, "Wait a little and send again."),
    Code.UNAUTHENTICATED: Kind(401, False, "Log in."),
    Code.TOKEN_EXPIRED: Kind(401, False, "Refresh the token and connect again."),
    Code.WRONG_CODE: Kind(401, False, "Check the code, or register again for a new one."),
    Code.CODE_EXPIRED: Kind(410, False, "Register again for a new code."),
    Code.INTERNAL: Kind(500, True, "Try again; if it stays, tell the operator."),
}


class Refusal(Exception):
    """A request that is not carried out, and why. The one exception of checks and decoders.

    `retry_after` is in seconds, 0 when waiting does not help.
    """

    def __init__(self, code: Code, text: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text or KINDS[code].advice
        self.retry_after = retry_after

    @property
    def kind(self) -> Kind:
        """The code's row in the table."""
        return KINDS[self.code]

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class StoreUnavailable(Exception):
    """The store did not take the request, and surely has not done it: nothing was committed."""


class OutcomeUnknown(Exception):
    """The store may or may not have done it: only repeating the same bytes, or reading, can tell."""


class LinkLost(Exception):
    """The connection to the broker is gone; its ack handles are worthless."""
