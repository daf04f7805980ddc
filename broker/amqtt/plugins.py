"""amqtt's plugins that ask our gate: `GatePlugin` for authentication and for topics.

Rules
- The verdict on a CONNECT was given at the door; here it is only looked up.
- amqtt shows a plugin neither wills nor the retain flag: the door checks the one, `server.GatedBroker` the other.
"""

from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session


class GatePlugin(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]
    """Answers for the gate; `context` leads to the broker, which holds gate and principals."""

    async def authenticate(self, *, session: Session) -> bool | None:
        """Whether the door has let this client in."""
        return session.client_id in self.context._broker_instance.principals

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """Ask the gate about a publish or a subscription. What comes to a session is asked again: it may have been
        subscribed with a token that allowed more."""
        if session is None:
            return True
        broker = self.context._broker_instance
        principal = broker.principals.get(session.client_id)
        if action == Action.RECEIVE and principal is None:
            return True
        if principal is None or topic is None:
            return False
        if action in (Action.SUBSCRIBE, Action.RECEIVE):
            return bool(broker.gate.subscribe(principal, topic).allowed)
        return bool(broker.gate.publish(principal, topic, retain=False, qos=0).allowed)
