"""Replaying dead letters: what could not be processed is said again, as it was, on its own topic.

Rules
- A letter is dropped only after the broker has answered its publish. A crash in between replays it twice, which its id
  tells; what is refused again is kept again, under a new number.
- It is published through a link of our own, so the topic says who sent it: the bridge treats it as that device's.
"""

from collections.abc import Sequence

from stores.ports.deadletters import DeadLetters
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.link import Link, Outbound


async def replay(letters: DeadLetters, link: Link, numbers: Sequence[int]) -> int:
    """Publish the letters of these numbers again, and drop them; tells how many. The link is connected. Raises
    `Refusal(notFound)` for a number that is not kept, before anything is published; `LinkLost`, `StoreUnavailable`."""
    found = []
    for number in dict.fromkeys(numbers):
        letter = await letters.get(number)
        if letter is None:
            raise Refusal(Code.NOT_FOUND, f"there is no dead letter {number}")
        found.append(letter)
    for letter in found:
        await link.publish([Outbound(letter.topic, letter.payload)])
        await letters.drop([letter.number])
    return len(found)
