"""A gate for tests of the shell: the password "good" opens, `bridge-…` is ours."""

from acl.decisions import Decision, Principal
from tidings.protocol.errors import Code, Refusal


class Gate:
    """`acl.decisions.Gate` without tokens."""

    def authenticate(self, client_id, username, password, now):
        if password != b"good":
            raise Refusal(Code.UNAUTHENTICATED)
        ours = client_id.startswith("bridge-")
        return Principal("u", "d", "", client_id, username, now, 2**62, custodian=ours)

    def publish(self, principal, topic, *, retain, qos):
        return Decision(True, "test")

    def subscribe(self, principal, topic_filter):
        return Decision(True, "test")

    def is_void(self, principal, now):
        return False
