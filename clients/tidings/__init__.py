"""Tidings: client library of a messaging system over MQTT.

The package stays lazy: importing `tidings` imports nothing else. What is said on the wire is in
`tidings.protocol`; the client's state machine in `tidings.session`; the asyncio shell in `tidings.aio`.
"""

__version__ = "0.1.0"
