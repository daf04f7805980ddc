"""What the broker itself tells a device."""

from acl.decisions import Principal
from broker.embedded.messages import Message
from tidings.protocol import codec, ids, payloads, topics
from tidings.protocol.errors import Refusal


def sync_needed(principal: Principal, now: int) -> Message | None:
    """Make the notice that a full queue dropped something for this device (promise 7); None for who is no device."""
    if principal.custodian:
        return None
    try:
        user = ids.user_id(principal.user)
    except Refusal:
        return None
    notice = payloads.Message(ids.self_conversation(user), 0, at=now, kind="sync.needed", data={"reason": "queueFull"})
    return Message(topics.build(topics.UserIn(user, "event")), codec.encode(notice), qos=1)
