"""MQTT over WebSocket (MQTT 6): RFC 6455 by wsproto, which does no I/O.

Rules
- One path, and the subprotocol `mqtt`, which the answer names [MQTT-6.0.0-4]; anything else is refused in HTTP.
- Frames are binary [MQTT-6.0.0-1], and their borders mean nothing [MQTT-6.0.0-2].
"""

import contextlib
from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from broker.embedded.listeners import Ears, TcpProtocol

PATH: Final = "/mqtt"
SUBPROTOCOL: Final = "mqtt"
_NORMAL: Final = 1000
_WRONG_DATA: Final = 1003
"""Close codes [RFC 6455 7.4.1]."""


class WebSocketProtocol(TcpProtocol):
    """A connection over WebSocket."""

    def __init__(self, ears: Ears) -> None:
        super().__init__(ears)
        self._ws = WSConnection(ConnectionType.SERVER)

    def feed(self, data: bytes) -> None:
        """Unwrap frames and pass on what is in them."""
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._handle(event)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self._reply(error.event_hint)
            self.close()
        except UnicodeError:  # wsproto reads a handshake's headers as ASCII and IDNA without asking whether they are
            super().close()

    def write(self, data: bytes) -> None:
        """Wrap bytes in a frame."""
        if self._ws.state is ConnectionState.OPEN:
            self.send(self._ws.send(BytesMessage(data)))

    def close(self) -> None:
        """Say goodbye, and close."""
        self._reply(CloseConnection(_NORMAL))
        super().close()

    def _handle(self, event: Event) -> None:
        match event:
            case Request():
                self._open(event)
            case BytesMessage():
                super().feed(bytes(event.data))
            case TextMessage():
                self._reply(CloseConnection(_WRONG_DATA))
                super().close()
            case Ping():
                self._reply(event.response())
            case CloseConnection():
                self._reply(event.response())
                super().close()
            case _:
                return

    def _open(self, request: Request) -> None:
        if request.target.partition("?")[0] != PATH:
            self._reject(404)
        elif SUBPROTOCOL not in request.subprotocols:
            self._reject(400)
        else:
            self._reply(AcceptConnection(subprotocol=SUBPROTOCOL))

    def _reject(self, status: int) -> None:
        self._reply(RejectConnection(status_code=status))
        super().close()

    def _reply(self, event: Event) -> None:
        with contextlib.suppress(LocalProtocolError):  # it is closed or not yet open: there is nobody to tell
            self.send(self._ws.send(event))
