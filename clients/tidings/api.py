"""The HTTP API, typed: what a client needs beside its MQTT connection.

Rules: every failure is a `Refusal`; the server's problems keep their code, and what never reached it is `unavailable`.
"""

from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from tidings.protocol.errors import KINDS, Code, Refusal
from tidings.protocol.ids import ConvId
from tidings.protocol.payloads import Head, Message, SendMessage, Wire

TIMEOUT_SECONDS: Final = 10.0

T = TypeVar("T")


class Page(Wire, frozen=True):
    """A page of history, oldest first; the log of the asking user is `first … head`."""

    messages: tuple[Message, ...] = ()
    has_more: bool = False
    first: int = 0
    head: int = 0


class Heads(Wire, frozen=True):
    """Where the user's conversations stand; `next` continues a cut page."""

    heads: tuple[Head, ...] = ()
    next: str | None = None


class Sent(Wire, frozen=True):
    """A message was stored."""

    seq: int


class Api:
    """A connection to one server's API, as one device once there is a token. An async context manager."""

    def __init__(self, server: str, token: str = "", *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(base_url=server, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def register(self, phone: str, name: str) -> str:
        """Ask for a code by SMS; returns the verification's id. Raises `Refusal`."""
        answer = await self._call("POST", "/api/auth/register", {"phoneNumber": phone, "name": name}, dict[str, Any])
        return str(answer.get("verificationId"))

    async def verify(self, verification: str, code: str, device_name: str = "") -> dict[str, Any]:
        """Trade the code for a login answer (`profile.from_login` reads it). Raises `Refusal`."""
        body = {"verificationId": verification, "code": code}
        if device_name:
            body["deviceName"] = device_name
        return await self._call("POST", "/api/auth/verify-otp", body, dict[str, Any])

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Trade the refresh token, once, for a new login answer. Raises `Refusal`."""
        return await self._call("POST", "/api/auth/refresh", {"refreshToken": refresh_token}, dict[str, Any])

    async def conversations(self) -> list[dict[str, Any]]:
        """List the user's conversations. Raises `Refusal`."""
        answer = await self._call("GET", "/api/conversations", None, dict[str, Any])
        return list(answer.get("conversations", ()))

    async def history(self, conv: ConvId, *, before: int = 0, after: int = -1, limit: int = 50) -> Page:
        """Read entries in `(after, before)`: the newest, or from `after` on when it is given. Raises `Refusal`."""
        chosen = {"before": before if before > 0 else None, "after": after if after >= 0 else None, "limit": limit}
        asked = {name: value for name, value in chosen.items() if value is not None}
        page = await self._call("GET", f"/api/messages/{conv}", None, Page, asked)
        return msgspec.structs.replace(page, messages=tuple(sorted(page.messages, key=lambda entry: entry.seq)))

    async def heads(self, after: str = "") -> Heads:
        """Tell where all conversations stand. Raises `Refusal`."""
        return await self._call("GET", "/api/sync", None, Heads, {"after": after} if after else {})

    async def send(self, conv: ConvId, message: SendMessage) -> int:
        """Say something without an MQTT connection; returns its seq. A repeat is safe. Raises `Refusal`."""
        body = {"conv": conv, **msgspec.to_builtins(message)}
        return (await self._call("POST", "/api/messages", body, Sent)).seq

    async def _call(self, method: str, path: str, body: Any, form: type[T], query: dict[str, Any] | None = None) -> T:
        try:
            answer = await self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise Refusal(Code.UNAVAILABLE, f"{self._http.base_url} does not answer: {_reason(error)}") from None
        if answer.is_error:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=form)
        except msgspec.MsgspecError as error:
            raise Refusal(Code.INTERNAL, f"{self._http.base_url} did not answer as documented: {error}") from None


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _refusal(answer: httpx.Response) -> Refusal:
    try:
        problem = answer.json()
        code, text = problem.get("code"), str(problem.get("detail") or problem.get("title") or "")
    except (ValueError, AttributeError):
        code, text = None, f"HTTP status {answer.status_code}"
    try:
        retry_after = float(answer.headers.get("Retry-After", 0))
    except ValueError:
        retry_after = 0.0
    return Refusal(Code(code) if code in KINDS else Code.INTERNAL, text, retry_after=retry_after)
