"""What surrounds every request: problems, bounds, headers, health, and the document."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.services.doubles import World, problem
from tidings.protocol.errors import KINDS, Code, OutcomeUnknown, Refusal

LIMIT = 256 * 1024
JSON = {"Content-Type": "application/json"}


async def test_every_route_but_the_public_ones_wants_a_token() -> None:
    world = World()
    public = {
        "/api/auth/register",
        "/api/auth/verify-otp",
        "/api/auth/refresh",
        "/.well-known/jwks.json",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    asked = 0
    async with world.http() as http:
        for path, methods in world.app.openapi()["paths"].items():
            for method in methods:
                if path not in public:
                    problem(await http.request(method, path.replace("{seq}", "1"), json={}), 401, "unauthenticated")
                    asked += 1
    assert asked >= 18


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 20_000, b'{"a":' * 20_000, b"nan"])
async def test_any_body_is_a_value_or_a_problem(body: bytes) -> None:
    async with World().http() as http:
        answer = await http.post("/api/auth/register", content=body, headers=JSON)
    assert answer.json()["code"] in ("badValue", "badPayload")
    assert answer.status_code in (400, 422)


async def test_unknown_paths_and_methods_are_problems() -> None:
    async with World().http() as http:
        problem(await http.get("/api/nothing"), 404, "notFound")
        problem(await http.get("/api/auth/register"), 405, "notFound")


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 422), (LIMIT + 1, 413)])
async def test_a_body_has_a_bound_whether_declared_or_not(size: int, status: int) -> None:
    body = b'{"name": "' + b"a" * (size - 12) + b'"}'
    assert len(body) == size

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 1_000):
            yield body[start : start + 1_000]

    async with World().http() as http:
        declared = await http.post("/api/auth/register", content=body, headers=JSON)
        streamed = await http.post("/api/auth/register", content=pieces(), headers=JSON)
    for answer in (declared, streamed):
        problem(answer, status, "tooLarge" if status == 413 else "badValue")


async def test_headers_and_request_ids() -> None:
    async with World().http() as http:
        answer = await http.get("/healthz")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        other = await http.get("/healthz")
        assert answer.headers["x-request-id"] != other.headers["x-request-id"]
        mine = await http.get("/healthz", headers={"X-Request-Id": "mine-1"})
        assert mine.headers["x-request-id"] == "mine-1"
        bad = await http.get("/healthz", headers={"X-Request-Id": "a b"})
        assert bad.headers["x-request-id"] != "a b"


async def test_what_nobody_foresaw_tells_nothing_but_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    person = await world.person()

    async def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    world.log.heads = broken  # type: ignore[method-assign,assignment]
    async with world.http(token=person.token) as http:
        answer = await http.get("/api/sync")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "the secret cause" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_outcome_that_is_unknown_is_worth_a_retry() -> None:
    world = World()
    person = await world.person()

    async def unknown(*_: object) -> None:
        raise OutcomeUnknown

    world.accounts.blocked = unknown  # type: ignore[method-assign,assignment]
    async with world.http(token=person.token) as http:
        problem(await http.get("/api/blocks"), 503, "unavailable")


@pytest.mark.parametrize("code", list(Code))
async def test_every_code_of_the_table_is_a_problem(code: Code) -> None:
    world = World()
    person = await world.person()
    world.writer.refusal = Refusal(code, "")
    async with world.http(token=person.token) as http:
        problem(await http.post("/api/groups", json={"name": "a"}), KINDS[code].status, code)


async def test_healthz_and_readyz() -> None:
    reasons: list[str] = []

    async def store() -> list[str]:
        return reasons

    async def broken() -> list[str]:
        if reasons:
            raise OSError("no")
        return []

    world = World(checks={"store": store, "broker": broken})
    async with world.http() as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": {}})
        reasons.append("it is locked")
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == {"store": ["it is locked"], "broker": ["the check failed: OSError"]}
        assert (await http.get("/healthz")).status_code == 200


async def test_a_check_that_hangs_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.health._PATIENCE", 0.01)

    async def never() -> list[str]:
        await asyncio.Event().wait()
        return []

    async with World(checks={"bridge": never}).http() as http:
        assert "no answer" in (await http.get("/readyz")).json()["reasons"]["bridge"][0]


async def test_metrics_count_answers() -> None:
    world = World()
    async with world.http() as http:
        await http.get("/healthz")
        await http.get("/nothing")
        text = (await http.get("/metrics")).text
    assert 'tidings_services_answers_total{method="GET",status="200"} 1.0' in text
    assert 'tidings_services_answers_total{method="GET",status="404"} 1.0' in text
