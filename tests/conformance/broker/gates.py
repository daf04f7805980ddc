"""The gate of the session suite: one password opens everything, so that sessions are tried and not rules."""

from acl.decisions import Decision, Principal
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, UserId

USERNAME = "user"
PASSWORD = "good"
"""What every client of the suite says; any other password is refused."""


class OpenGate:
    """Who knows the password may do everything, for ever; `acl.decisions.Gate`."""

    def authenticate(self, client_id, username, password, now):
        if (username, password) != (USERNAME, PASSWORD.encode()):
            raise Refusal(Code.UNAUTHENTICATED)
        return Principal(
            user=UserId("0000u0000000000000000"),
            device=DeviceId("d000000000"),
            role="device",
            client_id=client_id,
            username=USERNAME,
            issued_at=now,
            expires_at=now + 86_400_000,
        )

    def publish(self, principal, topic, *, retain, qos):
        return Decision(True, "everything")

    def subscribe(self, principal, topic_filter):
        return Decision(True, "everything")

    def is_void(self, principal, now):
        return False
