"""What both MQTT codecs raise. Either ends the connection it came over."""


class MalformedPacket(Exception):
    """These bytes are not a packet."""


class ProtocolViolation(Exception):
    """This is a packet, but nobody may send it, or not now."""
