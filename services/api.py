"""The HTTP API as one function of its dependencies. Nothing connects here; whoever composes it starts and stops."""

import base64
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from services import auth, blocks, conversations, guard, health, problems, writes
from services.deps import Deps
from services.login import Login
from services.metrics import Metrics
from tidings.protocol import limits

_BODY_BYTES = limits.PACKET_BYTES
_ABOUT = "Accounts, history and writing for those who cannot hold an MQTT connection. What is a stream goes by MQTT."


def make_api(deps: Deps) -> FastAPI:
    """Make the application. `deps.registry` gets its metrics."""
    app = routed()
    app.state.deps = deps
    app.state.metrics = Metrics(deps.registry)
    app.state.login = Login(deps, app.state.metrics)
    app.add_middleware(
        guard.Guard,
        body_bytes=_BODY_BYTES,
        make_id=lambda: base64.urlsafe_b64encode(deps.entropy(12)).decode(),
        metrics=app.state.metrics,
    )
    return app


def routed() -> FastAPI:
    """Make the application without anything behind it: its routes, for the document."""
    app = _Described(
        title="Tidings",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=problems.RESPONSES,
        generate_unique_id_function=_operation,
    )
    for part in (auth, conversations, writes, blocks, health):
        app.include_router(part.routes)
    problems.install(app)
    return app


class _Described(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Tell the document, made when it is first asked for."""
        return self.openapi_schema or problems.describe(super().openapi())


def _operation(route: APIRoute) -> str:
    return route.name
