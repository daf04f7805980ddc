"""A gate that lets everything pass and writes down, in the file that the client id names, what it is asked."""

from pathlib import Path

from acl.decisions import Decision, Principal
from tests.conformance.broker.gates import OpenGate


class CountingGate(OpenGate):
    """`acl.decisions.Gate`, for Mosquitto's process."""

    def publish(self, principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
        return self._note(principal, f"publish:{topic}")

    def subscribe(self, principal: Principal, topic_filter: str) -> Decision:
        return self._note(principal, f"subscribe:{topic_filter}")

    def _note(self, principal: Principal, asked: str) -> Decision:
        if "/" in principal.client_id:
            with Path(principal.client_id).open("a") as file:
                file.write(f"{asked}\n")
        return Decision(True, "everything")
