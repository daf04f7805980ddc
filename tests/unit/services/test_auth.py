"""Registration, tokens and devices: every success, every refusal, every limit at, under and over."""

import asyncio

import pytest

from acl.gate import TokenGate
from acl.tokens import Verifier
from services import codes
from stores.ports.accounts import RefreshToken
from tests.unit.services.doubles import KEYS, NOW, Person, World, problem
from tidings.protocol import ids, topics

PHONE = "+4915112345678"
ASK = {"phoneNumber": PHONE, "name": "Alice"}


async def registered(world: World, host: str = "192.0.2.7", **changes: str) -> str:
    async with world.http(host) as http:
        answer = await http.post("/api/auth/register", json={**ASK, **changes})
    assert answer.status_code == 200, answer.text
    assert answer.json()["otpSent"] is True
    assert answer.json()["expiresIn"] == 300
    return str(answer.json()["verificationId"])


async def refused(world: World, status: int, code: str, host: str = "192.0.2.7", **changes: str) -> dict[str, object]:
    async with world.http(host) as http:
        return problem(await http.post("/api/auth/register", json={**ASK, **changes}), status, code)


async def test_register_and_prove() -> None:
    world = World()
    person = await world.person()
    login = person.login
    assert login["user"] == {"id": person.user, "name": "Alice", "phoneNumber": PHONE}
    assert login["expiresIn"] == 3_600
    assert set(login) == {"token", "refreshToken", "expiresIn", "user", "mqtt"}
    own = ids.lane_of(person.user)
    assert login["mqtt"] == {
        "host": "mqtt.example.org",
        "ports": {"mqtt": 1883, "websocket": 8083, "tls": 0},
        "path": "/mqtt",
        "clientId": f"{person.user}:{person.device}",
        "username": person.user,
        "topics": {
            "subscribe": list(topics.device_subscriptions(person.user, person.device)),
            "out": f"u/{person.user}/{person.device}/out/{{lane}}/{{conv}}/{{verb}}",
            "to": f"u/{person.user}/{person.device}/to/{{lane}}/{{peer}}",
            "do": f"u/{person.user}/{person.device}/do/{own}/{{verb}}",
            "state": f"u/{person.user}/{person.device}/state/{own}",
        },
    }


async def test_the_login_answer_opens_the_broker() -> None:
    world = World()
    person = await world.person()
    mqtt = person.login["mqtt"]
    gate = TokenGate(Verifier(KEYS), world.revocations, lambda: 0.0)
    principal = gate.authenticate(mqtt["clientId"], mqtt["username"], person.token.encode(), NOW)
    assert principal.role == "person"
    assert all(gate.subscribe(principal, one).allowed for one in mqtt["topics"]["subscribe"])
    assert len(person.token) <= 400


async def test_the_same_number_is_the_same_user_on_another_device() -> None:
    world = World()
    first = await world.person()
    second = await world.person(name="Mallory")
    assert second.user == first.user
    assert second.device != first.device
    assert second.login["user"]["name"] == "Alice", "a later registration does not rename"


async def test_register_tells_nobody_whether_a_number_exists() -> None:
    """Same answer, same calls of the stores, whether the number has an account or not."""
    world = World()
    await world.person()
    seen = []
    for phone in (PHONE, "+4915199999999"):
        world.accounts.calls.clear()
        async with world.http() as http:
            answer = await http.post("/api/auth/register", json={"phoneNumber": phone, "name": "Eve"})
        body = answer.json()
        assert len(body.pop("verificationId")) == 22
        seen.append((answer.status_code, body, sorted(answer.headers), list(world.accounts.calls)))
    assert seen[0] == seen[1]
    assert seen[0][3] == []


@pytest.mark.parametrize("phone", ["", "hello", "015112345678", "+1", "+49" + "1" * 30, "+999123456789"])
async def test_what_is_no_phone_number_is_refused(phone: str) -> None:
    assert "phoneNumber" in str((await refused(World(), 422, "badValue", phoneNumber=phone))["detail"])


async def test_phone_numbers_are_kept_in_one_form() -> None:
    world = World()
    await registered(world, phoneNumber=" +49 (1511) 234-5678 ")
    assert world.phones.sent[-1][0] == PHONE


@pytest.mark.parametrize(
    ("name", "fits"), [("", False), (" ", False), ("a", True), ("é" * 255, True), ("a" * 256, False), ("a\nb", False)]
)
async def test_a_name_has_1_to_255_characters(name: str, fits: bool) -> None:
    if fits:
        await registered(World(), name=name)
    else:
        await refused(World(), 422, "badValue", name=name)


async def test_a_number_gets_three_codes_an_hour() -> None:
    world = World()
    for number in range(3):
        await registered(world, host=f"192.0.2.{number}")
    problem_ = await refused(world, 429, "rateLimited", host="192.0.2.9")
    assert problem_["retryAfter"] == 3_600
    assert len(world.phones.sent) == 3
    await registered(world, phoneNumber="+4915112345679")
    world.now += codes.HOUR_MS
    await registered(world)


async def test_a_limited_answer_says_when_to_come_again() -> None:
    world = World()
    for _ in range(3):
        await registered(world)
        world.now += 600_000
    async with world.http() as http:
        answer = await http.post("/api/auth/register", json=ASK)
        seconds = int(answer.headers["retry-after"])
        assert 1_800 <= seconds <= 1_815, "half an hour has passed since the first of the three"
        world.now += seconds * 1000
        assert (await http.post("/api/auth/register", json=ASK)).status_code == 200


async def test_a_proven_code_still_counts() -> None:
    world = World()
    for _ in range(3):
        await world.person()
    await refused(world, 429, "rateLimited")


async def test_a_burst_does_not_pass_between_counting_and_keeping() -> None:
    world = World()
    async with world.http() as http:
        answers = await asyncio.gather(*(http.post("/api/auth/register", json=ASK) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 7


def phone(number: int) -> str:
    return f"+49151123{number:05d}"


async def test_an_address_gets_thirty_an_hour() -> None:
    world = World()
    for number in range(30):
        await registered(world, phoneNumber=phone(number))
    await refused(world, 429, "rateLimited", phoneNumber=phone(30))
    await registered(world, host="192.0.2.8", phoneNumber=phone(30))


async def test_an_ipv6_network_is_one_address() -> None:
    world = World()
    for number in range(30):
        await registered(world, host=f"2001:db8::{number:x}", phoneNumber=phone(number))
    await refused(world, 429, "rateLimited", host="2001:db8::ffff", phoneNumber=phone(30))
    await registered(world, host="2001:db8:0:1::1", phoneNumber=phone(30))


@pytest.mark.parametrize(
    ("host", "development", "exempt"),
    [
        ("127.0.0.1", True, True),
        ("::1", True, True),
        ("::ffff:127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("192.0.2.7", True, False),
    ],
)
async def test_loopback_is_exempt_in_development_alone(host: str, development: bool, exempt: bool) -> None:
    world = World(development=development)
    for number in range(30):
        await registered(world, host, phoneNumber=phone(number))
    if exempt:
        await registered(world, host, phoneNumber=phone(30))
    else:
        await refused(world, 429, "rateLimited", host, phoneNumber=phone(30))


async def prove(world: World, verification: str, code: str) -> tuple[int, str]:
    async with world.http() as http:
        answer = await http.post("/api/auth/verify-otp", json={"verificationId": verification, "code": code})
    return answer.status_code, answer.json().get("code", "")


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_a_code_has_three_tries() -> None:
    world = World()
    verification = await registered(world)
    code = world.phones.code()
    for _ in range(3):
        assert await prove(world, verification, wrong(code)) == (401, "wrongCode")
    assert await prove(world, verification, code) == (410, "codeExpired")


async def test_the_third_try_may_be_right() -> None:
    world = World()
    verification = await registered(world)
    code = world.phones.code()
    for _ in range(2):
        await prove(world, verification, wrong(code))
    assert (await prove(world, verification, code))[0] == 200
    assert await prove(world, verification, code) == (410, "codeExpired"), "a code is used once"


async def test_a_code_lives_five_minutes() -> None:
    world = World()
    verification = await registered(world)
    world.now += 299_999
    assert (await prove(world, verification, wrong(world.phones.code())))[1] == "wrongCode"
    world.now += 1
    assert await prove(world, verification, world.phones.code()) == (410, "codeExpired")


async def test_of_two_who_bring_the_right_code_at_once_one_succeeds() -> None:
    world = World()
    verification = await registered(world)
    answers = await asyncio.gather(*(prove(world, verification, world.phones.code()) for _ in range(2)))
    assert sorted(status for status, _ in answers) == [200, 410]
    assert len(world.accounts.owned) == 1


async def test_an_unknown_verification_is_an_expired_one() -> None:
    world = World()
    assert await prove(world, "never", "123456") == (410, "codeExpired")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６"])
async def test_other_texts_are_wrong_codes(code: str) -> None:
    world = World()
    assert await prove(world, await registered(world), code) == (401, "wrongCode")


async def test_lone_surrogates_are_no_surprise() -> None:
    world = World()
    verification = await registered(world)
    async with world.http() as http:
        for path, body in (
            ("register", b'{"phoneNumber": "+4915112345678", "name": "\\ud800"}'),
            ("register", b'{"phoneNumber": "\\ud800", "name": "a"}'),
            ("verify-otp", b'{"verificationId": "%s", "code": "\\ud800"}' % verification.encode()),
            ("verify-otp", b'{"verificationId": "\\ud800", "code": "1"}'),
            ("refresh", b'{"refreshToken": "\\ud800"}'),
        ):
            answer = await http.post(f"/api/auth/{path}", content=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, answer.text


async def test_a_code_fits_its_own_verification_only_and_is_kept_as_a_hash() -> None:
    world = World()
    first = await registered(world)
    code = world.phones.code()
    second = await registered(world)
    assert await prove(world, second, code) == (401, "wrongCode")
    kept = world.verifications.rows[first]
    assert code.encode() not in kept.code_hash
    assert not codes.is_code(b"x" * 32, first, code, kept.code_hash), (
        "without the server's secret a guess proves nothing"
    )


def test_codes_have_six_digits_each_as_likely() -> None:
    made = [codes.make_code(number.to_bytes(16, "big")) for number in (0, 7, 999_999, 1_000_000, 2**128 - 1)]
    assert made[:4] == ["000000", "000007", "999999", "000000"]
    assert all(len(code) == 6 and code.isdigit() for code in made)


async def test_a_banned_user_does_not_come_in() -> None:
    world = World()
    person = await world.person()
    await world.accounts.set_banned(person.user, True)
    verification = await registered(world)
    assert await prove(world, verification, world.phones.code()) == (403, "notAllowed")
    assert await renew(world, person.refresh) == (403, "notAllowed")


async def renew(world: World, token: str) -> tuple[int, str]:
    async with world.http() as http:
        answer = await http.post("/api/auth/refresh", json={"refreshToken": token})
    return answer.status_code, answer.json().get("code", "") or answer.json().get("refreshToken", "")


async def test_refreshing_rotates() -> None:
    world = World()
    person = await world.person()
    world.now += 3_000_000
    async with world.http() as http:
        answer = await http.post("/api/auth/refresh", json={"refreshToken": person.refresh})
    again = Person(answer.json())
    assert answer.status_code == 200
    assert (again.user, again.device) == (person.user, person.device)
    assert again.refresh != person.refresh
    assert again.token != person.token
    assert again.login["mqtt"] == person.login["mqtt"]


async def test_reuse_ends_the_family() -> None:
    world = World()
    person, other = await world.person(), await world.person()
    _, second = await renew(world, person.refresh)
    assert await renew(world, person.refresh) == (401, "unauthenticated")
    assert await renew(world, second) == (401, "unauthenticated"), (
        "the thief's, or the victim's, next one is void as well"
    )
    assert (await renew(world, other.refresh))[0] == 200, "another login of the same user goes on"


async def test_a_family_that_ends_while_its_token_is_exchanged_takes_the_new_token_along() -> None:
    world = World()
    person = await world.person()
    thief = asyncio.Event()
    put = world.refreshes.put

    async def slow(token: RefreshToken) -> None:
        await thief.wait()
        await put(token)

    world.refreshes.put = slow  # type: ignore[method-assign]
    victim = asyncio.create_task(renew(world, person.refresh))
    while not world.refreshes.rows or not next(iter(world.refreshes.rows.values())).used_at:
        await asyncio.sleep(0)
    assert await renew(world, person.refresh) == (401, "unauthenticated")
    thief.set()
    assert await victim == (401, "unauthenticated")
    assert world.refreshes.rows == {}


async def test_an_unknown_or_old_refresh_token_is_refused() -> None:
    world = World()
    person = await world.person()
    assert await renew(world, "x") == (401, "unauthenticated")
    world.now += world.deps.refresh_ms
    assert await renew(world, person.refresh) == (401, "unauthenticated")


async def test_logout_ends_this_device() -> None:
    world = World()
    person = await world.person()
    async with world.http(token=person.token) as http:
        assert (await http.post("/api/auth/logout")).status_code == 204
    assert world.accounts.owned[person.user, person.device].revoked_at == NOW
    assert await renew(world, person.refresh) == (401, "unauthenticated")


async def test_a_lost_phone_is_logged_out_from_another() -> None:
    world = World()
    lost, found = await world.person(), await world.person()
    async with world.http(token=found.token) as http:
        listed = (await http.get("/api/devices")).json()["devices"]
        assert [(one["id"], one["current"]) for one in listed] == [(lost.device, False), (found.device, True)]
        assert (await http.delete(f"/api/devices/{lost.device}")).status_code == 204
        problem(await http.delete(f"/api/devices/{lost.device}"), 404, "notFound")
        problem(await http.delete("/api/devices/in"), 400, "badId")
    assert await renew(world, lost.refresh) == (401, "unauthenticated")


async def test_nobodys_else_device_can_be_logged_out() -> None:
    world = World()
    alice, bob = await world.person(), await world.person("+4915112345679", "Bob")
    async with world.http(token=bob.token) as http:
        problem(await http.delete(f"/api/devices/{alice.device}"), 404, "notFound")


async def test_the_public_keys_are_public() -> None:
    async with World().http() as http:
        answer = await http.get("/.well-known/jwks.json")
    assert answer.json() == KEYS.jwks()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c"])
async def test_without_a_good_token_the_answer_is_401(header: str) -> None:
    async with World().http() as http:
        answer = await http.get("/api/sync", headers={"Authorization": header})
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_expired_or_revoked_token_is_refused() -> None:
    world = World()
    person = await world.person()
    async with world.http(token=person.token) as http:
        assert (await http.get("/api/sync")).status_code == 200
        world.revoke(person.user, person.device)
        problem(await http.get("/api/sync"), 401, "unauthenticated")
        world.revocations.replace(3, [])
        world.now += 3_600_000
        problem(await http.get("/api/sync"), 401, "tokenExpired")
