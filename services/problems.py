"""Every refusal as an RFC 9457 problem: one handler, the code table of the protocol.

Rules
- `type` is `urn:tidings:problem:{code}`, `title` the code's advice, `detail` what was wrong this time; `code` and,
  where waiting helps, `retryAfter` (seconds) are extension members. `Retry-After` and `WWW-Authenticate` follow from
  the code.
- A request that does not fit its form is `badValue` and names the field; a store that is away is `unavailable`.
- What nobody foresaw is `internal` (`guard.py`) and tells nothing of its cause; the log does.
"""

import logging
import math
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tidings.protocol.errors import Code, OutcomeUnknown, Refusal, StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"

_OF_STATUS: Final = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND, 413: Code.TOO_LARGE}

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error answer (RFC 9457)."""

    type: str = Field(examples=["urn:tidings:problem:rateLimited"])
    title: str
    status: int
    detail: str
    code: str = Field(description="stable; the table is in the documentation")
    instance: str = Field("", description="the request's id, as in the X-Request-Id header")
    retryAfter: float = Field(0, description="seconds, where waiting helps")


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "model": Problem,
        "description": "A problem: `code` says which",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""For every route's OpenAPI."""


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """Correct an OpenAPI document: FastAPI lists its own media type beside ours for every problem."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"]["content"].pop("application/json", None)
    return document


def install(app: FastAPI) -> None:
    """Let every error of this application become a problem."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(StoreUnavailable, _away)
    app.add_exception_handler(OutcomeUnknown, _away)


def answer(refusal: Refusal, *, instance: str = "", status: int = 0) -> JSONResponse:
    """Build the answer to a refused request."""
    kind = refusal.kind
    body: dict[str, Any] = {
        "type": f"urn:tidings:problem:{refusal.code}",
        "title": kind.advice,
        "status": status or kind.status,
        "detail": refusal.text,
        "code": str(refusal.code),
    }
    headers: dict[str, str] = {}
    if instance:
        body["instance"] = instance
    if refusal.retry_after:
        body["retryAfter"] = refusal.retry_after
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
    if body["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, body["status"], headers, MEDIA_TYPE)


def _said(request: Request, refusal: Refusal, status: int = 0) -> JSONResponse:
    return answer(refusal, instance=getattr(request.state, "request_id", ""), status=status)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _said(request, error)


async def _misfit(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    if first["type"] == "json_invalid":
        return _said(request, Refusal(Code.BAD_PAYLOAD, "the body is not JSON"))
    return _said(request, Refusal(Code.BAD_VALUE, f"{where}: {first['msg']}"))


async def _routing(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own: no such path (404), no such method there (405), and the guard's 413."""
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, Code.BAD_PAYLOAD)
    refusal = Refusal(code, f"{request.method} {request.url.path[:200]}: {error.detail}")
    response = _said(request, refusal, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _away(request: Request, error: Exception) -> JSONResponse:
    _log.warning("store unavailable: %s", error)
    return _said(request, Refusal(Code.UNAVAILABLE, retry_after=1.0))
