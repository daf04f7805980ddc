"""The HTTP API as one function of its dependencies. Nothing connects here; whoever composes it starts and stops."""

import base64

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
    app = FastAPI(
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
    problems.describe(app.openapi())  # made once and kept by the application
    return app


def _operation(route: APIRoute) -> str:
    return route.name
