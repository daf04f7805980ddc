"""A device's question (`do/{lane}/{verb}`), as it waits for its answer."""

from msgspec import Struct

from tidings.protocol.codec import Encoding
from tidings.protocol.ids import DeviceId, UserId
from tidings.protocol.payloads import DoHeads, DoSync, DoWatch

Request = DoHeads | DoSync | DoWatch


class Question(Struct, frozen=True):
    """Who asks what, and in which encoding the answer goes back. `number` names it within its lane group."""

    number: int
    user: UserId
    device: DeviceId
    request: Request
    encoding: Encoding
