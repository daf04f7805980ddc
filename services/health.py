"""`/healthz`, `/readyz`, `/metrics`: for whoever runs it.

Rules
- `/healthz` says that the process answers, and nothing else. `/readyz` asks every part; a check that takes longer than
  2 s, or fails, is a reason. Checks run at once.
"""

import asyncio
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.bodies import Body
from services.deps import Check, Given

routes = APIRouter(tags=["health"])

_PATIENCE: Final = 2.0


class Ready(Body):
    """Whether it is ready; `reasons` by part when not."""

    ready: bool
    reasons: dict[str, list[str]]


@routes.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell that the process answers."""
    return {"status": "ok"}


@routes.get("/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "not ready"}})
async def readyz(deps: Given) -> JSONResponse:
    """Tell whether every part is ready; 503 and the reasons when not."""
    answers = await asyncio.gather(*map(_reasons, deps.checks.values()))
    reasons = {name: found for name, found in zip(deps.checks, answers, strict=True) if found}
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


@routes.get("/metrics", response_class=Response)
async def metrics(deps: Given) -> Response:
    """Tell the metrics in Prometheus' text form."""
    return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)


async def _reasons(check: Check) -> list[str]:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check()
    except TimeoutError:
        return [f"no answer within {_PATIENCE:g} s"]
    except Exception as error:
        return [f"the check failed: {type(error).__name__}"]
