"""What surrounds every request: an id, a bound on the body, headers that keep browsers careful, and the counts.

Rules
- Pure ASGI: nothing is read ahead, and a body above the limit is refused as soon as that is known.
- An exception that nobody foresaw is logged with the request's id and answered as `internal`.
- The request id is ours, or the caller's if it is a plain word; it goes back in `X-Request-Id` and into problems.
"""

import logging
import re
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services import problems
from services.metrics import Metrics
from tidings.protocol.errors import Code, Refusal

_log = logging.getLogger(__name__)

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware. `body_bytes` is the largest body, `make_id` gives request ids."""

    def __init__(self, app: ASGIApp, body_bytes: int, make_id: Callable[[], str], metrics: Metrics) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._too_large = f"a request's body has at most {body_bytes} bytes"
        self._make_id = make_id
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _PLAIN.fullmatch(given) else self._make_id()
        scope.setdefault("state", {})["request_id"] = request_id
        watch = _Watch(send, request_id)
        with self._metrics.requests(scope["method"]) as outcome:
            try:
                if _declared(headers) > self._body_bytes:
                    refusal = Refusal(Code.TOO_LARGE, self._too_large)
                    await problems.answer(refusal, instance=request_id)(scope, receive, watch.send)
                else:
                    await self._app(scope, self._bounded(receive), watch.send)
            except Exception:
                _log.exception("request %s: %s %s failed", request_id, scope["method"], scope["path"])
                if not watch.status:
                    await problems.answer(Refusal(Code.INTERNAL), instance=request_id)(scope, receive, watch.send)
            finally:
                outcome.status = watch.status

    def _bounded(self, receive: Receive) -> Receive:
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._body_bytes:
                raise HTTPException(413, self._too_large)  # the one exception FastAPI lets out of a body's reading
            return message

        return bounded


class _Watch:
    """Adds the headers to an answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass one message of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
