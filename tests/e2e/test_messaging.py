"""Two people, and groups of them, talk through a running server with a stock MQTT client."""

import asyncio
import json
import sqlite3
from contextlib import closing

import httpx

from tests.e2e.people import Person, connected, next_on, register, whole_history
from tests.processes import TidingsUp, until


async def say(client, person: Person, conv: str, message_id: str, body: str, to: str = "") -> None:  # type: ignore[no-untyped-def]
    payload = {"id": message_id, "body": body} | ({"to": to} if to else {})
    await client.publish(person.out(conv), json.dumps(payload), qos=1)


async def create_group(server: TidingsUp, creator: Person, *members: Person, history: bool = True) -> str:
    body = {"name": "Friends", "members": [member.user for member in members], "history": history}
    async with httpx.AsyncClient(base_url=server.url, headers=creator.headers, timeout=10) as http:
        answer = await http.post("/api/groups", json=body)
        assert answer.status_code == 201, answer.text
        conv: str = answer.json()["conv"]
        return conv


async def test_a_message_comes_back_as_the_acknowledgement_and_reaches_the_other(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
        await say(at_alice, alice, conv, "m1", "hi", bob.user)
        echo = await next_on(at_alice, "/in/msg")
        got = await next_on(at_bob, "/in/msg")
    assert echo == got
    assert (got["id"], got["body"], got["from"], got["device"]) == ("m1", "hi", alice.user, alice.device)
    assert got["seq"] == 2, "seq 1 is the conversation's beginning"


async def test_who_was_offline_gets_it_all_in_order_on_return(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, bob):
        pass
    async with connected(server, alice) as at_alice:
        for number in range(20):
            await say(at_alice, alice, conv, f"m{number}", f"text {number}", bob.user)
            await next_on(at_alice, "/in/msg")
    async with connected(server, bob) as at_bob:
        bodies = [(await next_on(at_bob, "/in/msg"))["body"] for _ in range(20)]
    assert bodies == [f"text {number}" for number in range(20)]


async def test_two_devices_of_one_user_see_the_same_log_also_what_the_other_sent(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    tablet = await register(server, "Alice", phone=alice.phone, device="tablet")
    assert (tablet.user, tablet.device != alice.device) == (alice.user, True)
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_phone, connected(server, tablet) as at_tablet:
        await say(at_phone, alice, conv, "m1", "from the phone", bob.user)
        await say(at_tablet, tablet, conv, "m1", "from the tablet", bob.user)
        seen = [[(await next_on(at, "/in/msg")) for _ in range(2)] for at in (at_phone, at_tablet)]
    assert seen[0] == seen[1]
    assert {entry["body"] for entry in seen[0]} == {"from the phone", "from the tablet"}


async def test_a_repeat_has_the_same_number_and_reaches_only_its_sender(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
        await say(at_alice, alice, conv, "m1", "once", bob.user)
        first = await next_on(at_alice, f"u/{alice.user}/in/msg")
        await say(at_alice, alice, conv, "m1", "once", bob.user)
        again = await next_on(at_alice, f"u/{alice.user}/{alice.device}/in/msg")
        await say(at_alice, alice, conv, "m2", "twice", bob.user)
        assert (await next_on(at_bob, "/in/msg"))["id"] == "m1"
        assert (await next_on(at_bob, "/in/msg"))["id"] == "m2", "the repeat went to Bob as well"
    assert again == first


async def test_the_same_id_with_another_body_is_refused(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice:
        await say(at_alice, alice, conv, "m1", "one", bob.user)
        await next_on(at_alice, "/in/msg")
        await say(at_alice, alice, conv, "m1", "another", bob.user)
        error = await next_on(at_alice, "/in/error")
    assert (error["id"], error["code"]) == ("m1", "idReused")
    assert [entry["id"] for entry in await whole_history(server, alice, conv)][1:] == ["m1"]


async def test_unknown_recipient_wrong_lane_and_undecodable_bytes_are_told_to_the_sender(server: TidingsUp) -> None:
    alice = await register(server, "Alice")
    stranger = "0000u" + "0" * 16
    conv = alice.conversation_with(Person("x", "", stranger, "d" + "0" * 9, "", "", {}))
    async with connected(server, alice) as at_alice:
        await say(at_alice, alice, conv, "m1", "anybody?", stranger)
        assert (await next_on(at_alice, "/in/error"))["code"] == "unknownRecipient"
        wrong = alice.out(conv).replace(f"/out/{conv[2:4]}/", f"/out/{(int(conv[2:4], 16) + 1) % 256:02x}/")
        await at_alice.publish(wrong, json.dumps({"id": "m2", "body": "x"}), qos=1)
        assert (await next_on(at_alice, "/in/error"))["code"] == "wrongLane"
        await at_alice.publish(alice.out(conv), b"\xff\x00 no payload", qos=1)
        assert (await next_on(at_alice, "/in/error"))["code"] == "badPayload"


async def test_both_ticks_reach_the_sender(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
        await say(at_alice, alice, conv, "m1", "hi", bob.user)
        seq = (await next_on(at_bob, "/in/msg"))["seq"]
        for kind in ("delivered", "read"):
            range_ = {"kind": kind, "from": 0, "to": seq}
            await at_bob.publish(bob.out(conv, "receipt"), json.dumps(range_), qos=1)
            tick = await next_on(at_alice, "/in/receipt")
            assert (tick["user"], tick["kind"], tick["to"]) == (bob.user, kind, seq)
    async with httpx.AsyncClient(base_url=server.url, headers=alice.headers) as http:
        info = (await http.get(f"/api/messages/{conv}/{seq}/info")).json()
    assert [member["user"] for member in info["members"]] == [bob.user]


async def test_the_doormat_takes_plain_text_of_a_small_device(server: TidingsUp) -> None:
    sensor, bob = await register(server, "Sensor"), await register(server, "Bob")
    conv = sensor.conversation_with(bob)
    topic = f"u/{sensor.user}/{sensor.device}/to/{conv[2:4]}/{bob.user}"
    async with connected(server, sensor) as at_sensor, connected(server, bob) as at_bob:
        await at_sensor.publish(f"{topic}/reading-1", "21.5 °C", qos=1)
        assert (await next_on(at_bob, "/in/msg"))["body"] == "21.5 °C"
        await at_sensor.publish(f"{topic}/reading-1", "21.5 °C", qos=1)
        await at_sensor.publish(topic, "{no json, just text", qos=1)
        assert (await next_on(at_bob, "/in/msg"))["body"] == "{no json, just text"


async def test_sync_and_heads_over_mqtt_fill_a_gap(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice:
        for number in range(5):
            await say(at_alice, alice, conv, f"m{number}", f"text {number}", bob.user)
            await next_on(at_alice, "/in/msg")
    do = f"u/{bob.user}/{bob.device}/do/{bob.user[2:4]}"
    async with connected(server, bob) as at_bob:
        await at_bob.publish(f"{do}/heads", json.dumps({"id": "h1"}), qos=1)
        heads = await next_on(at_bob, "/in/reply")
        assert [(head["conv"], head["seq"]) for head in heads["heads"]] == [(conv, 6)]
        await at_bob.publish(f"{do}/sync", json.dumps({"id": "s1", "conv": conv, "after": 1, "limit": 3}), qos=1)
        page = await next_on(at_bob, "/in/reply")
    assert [entry["seq"] for entry in page["messages"]] == [2, 3, 4]
    assert (page["hasMore"], page["head"]) == (True, 6)


async def test_a_group_talks_and_who_is_removed_sees_nothing_later(server: TidingsUp) -> None:
    alice, bob, carol = [await register(server, name) for name in ("Alice", "Bob", "Carol")]
    conv = await create_group(server, alice, bob, carol)
    async with (
        connected(server, alice) as at_alice,
        connected(server, bob) as at_bob,
        connected(server, carol) as at_carol,
    ):
        await say(at_alice, alice, conv, "m1", "all of you")
        assert (
            (await next_on(at_bob, "/in/msg"))["body"] == (await next_on(at_carol, "/in/msg"))["body"] == "all of you"
        )
        async with httpx.AsyncClient(base_url=server.url, headers=alice.headers, timeout=10) as http:
            answer = await http.delete(f"/api/groups/{conv}/members/{carol.user}")
            assert answer.status_code == 200, answer.text
        await say(at_alice, alice, conv, "m2", "without Carol")
        assert (await next_on(at_bob, "/in/msg"))["body"] == "without Carol"
        await say(at_carol, carol, conv, "c1", "I am still here")
        assert (await next_on(at_carol, "/in/error"))["code"] == "notMember"
    seen = await whole_history(server, carol, conv)
    assert "without Carol" not in json.dumps(seen)
    assert seen[-1]["kind"] == "member.removed"


async def test_new_members_see_the_last_entries_or_none_as_the_group_says(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    for history in (True, False):
        conv = await create_group(server, alice, history=history)
        async with connected(server, alice) as at_alice:
            await say(at_alice, alice, conv, f"old-{history}", "before Bob")
            await next_on(at_alice, "/in/msg")
        async with httpx.AsyncClient(base_url=server.url, headers=alice.headers, timeout=10) as http:
            answer = await http.post(f"/api/groups/{conv}/members", json={"members": [bob.user]})
            assert answer.status_code in (200, 201), answer.text
        bodies = [entry.get("body") for entry in await whole_history(server, bob, conv)]
        assert ("before Bob" in bodies) is history


async def test_a_block_is_silent_and_leaks_nothing(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with httpx.AsyncClient(base_url=server.url, headers=bob.headers, timeout=10) as http:
        assert (await http.post(f"/api/blocks/{alice.user}")).status_code in (200, 201, 204)
    async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
        await say(at_alice, alice, conv, "m1", "are you angry?", bob.user)
        assert (await next_on(at_alice, "/in/msg"))["seq"] == 2, "to the sender it looks like any other"
        async with httpx.AsyncClient(base_url=server.url, headers=bob.headers, timeout=10) as http:
            assert (await http.delete(f"/api/blocks/{alice.user}")).status_code in (200, 204)
        await _until_unblocked(at_alice, alice, conv, at_bob, bob.user)
    assert "are you angry?" not in json.dumps(await whole_history(server, bob, conv))


async def _until_unblocked(at_alice, alice: Person, conv: str, at_bob, to: str) -> None:  # type: ignore[no-untyped-def]
    """A bridge re-reads blocks within 30 s: repeat new messages until one arrives."""
    for number in range(40):
        await say(at_alice, alice, conv, f"again-{number}", "and now?", to)
        try:
            got = await next_on(at_bob, "/in/msg", within=1.0)
        except TimeoutError:
            continue
        assert got["body"] == "and now?"
        return
    raise AssertionError("still blocked after 40 s")


async def test_a_logged_out_device_is_disconnected_within_2_s(server: TidingsUp) -> None:
    alice = await register(server, "Alice")
    async with httpx.AsyncClient(base_url=server.url, headers=alice.headers, timeout=10) as http:
        cut = asyncio.Event()

        async def stay() -> None:
            try:
                async with connected(server, alice) as at_alice:
                    ready.set()
                    async for _ in at_alice.messages:
                        pass
            except Exception:
                cut.set()

        ready = asyncio.Event()
        staying = asyncio.create_task(stay())
        await asyncio.wait_for(ready.wait(), 5)
        assert (await http.post("/api/auth/logout")).status_code in (200, 204)
        await asyncio.wait_for(cut.wait(), 4)
        staying.cancel()


async def test_a_logged_out_device_leaves_no_queued_session(server: TidingsUp) -> None:
    alice = await register(server, "Alice")
    async with connected(server, alice):
        pass
    assert _sessions(server, alice.mqtt["clientId"]) == 1
    async with httpx.AsyncClient(base_url=server.url, headers=alice.headers, timeout=10) as http:
        assert (await http.post("/api/auth/logout")).status_code in (200, 204)
    await asyncio.to_thread(
        until, lambda: not _sessions(server, alice.mqtt["clientId"]), within=5, what="the session forgotten"
    )


def _sessions(server: TidingsUp, client_id: str) -> int:
    with closing(sqlite3.connect(f"file:{server.data}/broker.db?mode=ro", uri=True)) as broker:
        found: int = broker.execute("SELECT count(*) FROM session WHERE client_id = ?", (client_id,)).fetchone()[0]
        return found


async def test_typing_is_told_and_never_stored(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice, connected(server, bob) as at_bob:
        await say(at_alice, alice, conv, "m1", "hi", bob.user)
        await next_on(at_bob, "/in/msg")
        await at_alice.publish(alice.out(conv, "typing"), json.dumps({"active": True}), qos=0)
        assert (await next_on(at_bob, "/in/typing"))["user"] == alice.user
    assert len(await whole_history(server, bob, conv)) == 2


async def test_the_101st_message_of_a_minute_is_refused_with_retry_after(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, alice) as at_alice:
        for number in range(130):
            await say(at_alice, alice, conv, f"m{number}", "x", bob.user)
        error = await next_on(at_alice, "/in/error", within=20)
    assert error["code"] == "rateLimited"
    assert error["retryAfter"] > 0
    assert len(await whole_history(server, alice, conv)) >= 101
