"""Replaying a dead letter: its bytes are published again to its topic, through the broker's front door.

Rules
- The token is for this one topic, lives a minute and names a device that nobody has: it can take over no session.
- A letter is dropped only after the broker has acknowledged it; on the embedded broker that means that the bridge has
  stored it, refused it to its sender, or put it among the dead letters again, under a new number.
"""

from pathlib import Path

from acl import keys
from acl.tokens import Claims, issue
from app.clock import entropy, now_ms
from app.running import Running
from bridge.links.mqtt import Address, MqttLink
from stores.ports.deadletters import DeadLetter, DeadLetters
from tidings.protocol import ids, topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.link import Outbound

LIFETIME_MS = 60_000


async def replay(letter: DeadLetter, letters: DeadLetters, data: Path, running: Running) -> None:
    """Publish it again and drop it. Raises `Refusal` when it never came from a device, `LinkLost` when nobody
    listens."""
    topic = topics.parse(letter.topic)
    if not isinstance(topic, topics.Out | topics.Doormat | topics.DoormatPlain | topics.Do | topics.Presence):
        raise Refusal(Code.UNSUPPORTED, f"letter {letter.number} came from no device: {letter.topic}")
    device, now = ids.make_device_id(entropy(6)), now_ms()
    grant = (("publish", letter.topic),)
    token = issue(keys.load(data / "keys.json"), Claims(topic.user, device, "", now, now + LIFETIME_MS, allow=grant))
    name = ids.client_id(topic.user, device)
    link = MqttLink(Address(running.host, running.mqtt, name, topic.user, lambda: token.encode(), session_expiry=0))
    await link.connect((), lambda messages: None, lambda: None)
    try:
        await link.publish([Outbound(letter.topic, letter.payload)])
    finally:
        await link.close()
    await letters.drop([letter.number])
