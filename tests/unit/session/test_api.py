"""The HTTP client against a transport without a network: what it asks, what it makes of the answers."""

import json
from collections.abc import Callable

import httpx
import pytest

from tests.unit.session.server import ALICE, BOB, PHONE, WITH_BOB, text
from tidings import profile
from tidings.api import Api
from tidings.protocol.errors import Code, Refusal

LOGIN = {
    "token": "t",
    "refreshToken": "r",
    "expiresIn": 60,
    "user": {"id": ALICE, "name": "Alice", "phoneNumber": "+491"},
    "mqtt": {
        "host": "h",
        "ports": {"mqtt": 1883, "websocket": 8083, "tls": 0},
        "path": "/mqtt",
        "clientId": f"{ALICE}:{PHONE}",
        "username": ALICE,
        "topics": {},
    },
}


def api(answer: Callable[[httpx.Request], httpx.Response], token: str = "") -> Api:
    return Api("http://server", token, transport=httpx.MockTransport(answer))


async def test_history_asks_what_was_wanted_and_sorts() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer token"
        assert request.url.path == f"/api/messages/{WITH_BOB}"
        assert dict(request.url.params) == {"before": "9", "limit": "2"}
        entries = [{"conv": WITH_BOB, "seq": seq} for seq in (8, 7)]
        return httpx.Response(200, json={"messages": entries, "hasMore": True, "first": 1, "head": 9, "marks": []})

    async with api(answer, "token") as client:
        page = await client.history(WITH_BOB, before=9, limit=2)
    assert ([entry.seq for entry in page.messages], page.has_more, page.head) == ([7, 8], True, 9)


async def test_after_0_is_asked_for_and_no_bound_is_none() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json={})

    async with api(answer) as client:
        await client.history(WITH_BOB, after=0)
        await client.history(WITH_BOB)
    assert asked == [{"after": "0", "limit": "50"}, {"limit": "50"}]


async def test_send_says_the_whole_message() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"conv": WITH_BOB, "id": "m1", "body": "text 1", "to": BOB}
        return httpx.Response(201, json={"conv": WITH_BOB, "seq": 4, "id": "m1"})

    async with api(answer) as client:
        assert await client.send(WITH_BOB, text(1, WITH_BOB)) == 4


@pytest.mark.parametrize(
    ("response", "code", "retry_after"),
    [
        (
            httpx.Response(429, json={"code": "rateLimited", "detail": "x"}, headers={"Retry-After": "7"}),
            "rateLimited",
            7,
        ),
        (httpx.Response(404, json={"code": "unknownRecipient", "title": "x"}), "unknownRecipient", 0),
        (httpx.Response(500, json={"code": "aCodeOfLaterTimes"}), "internal", 0),
        (httpx.Response(502, text="<html>"), "internal", 0),
        (httpx.Response(500, json=["x"], headers={"Retry-After": "soon"}), "internal", 0),
        (httpx.Response(200, text="<html>"), "internal", 0),
    ],
)
async def test_every_bad_answer_is_a_refusal(response: httpx.Response, code: str, retry_after: float) -> None:
    async with api(lambda request: response) as client:
        with pytest.raises(Refusal) as caught:
            await client.heads()
    assert (caught.value.code, caught.value.retry_after) == (code, retry_after)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with api(answer) as client:
        with pytest.raises(Refusal, match="does not answer") as caught:
            await client.conversations()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_login_answer_becomes_a_profile() -> None:
    async with api(lambda request: httpx.Response(200, json=LOGIN)) as client:
        found = profile.from_login("http://server", await client.verify("v", "123456"), 1_000)
    assert (found.user, found.device, found.client_id) == (ALICE, PHONE, f"{ALICE}:{PHONE}")
    assert (found.ports, found.since, found.expires_at) == ({"mqtt": 1883, "websocket": 8083}, 1_000, 61_000)


@pytest.mark.parametrize("missing", ["token", "mqtt", "user", "refreshToken"])
def test_what_is_no_login_answer_is_said_in_one_line(missing: str) -> None:
    answer = {name: value for name, value in LOGIN.items() if name != missing}
    with pytest.raises(profile.ProfileError, match="did not answer as"):
        profile.from_login("http://server", answer, 0)
