"""The SDK's client talks through a running server: what an application sees. None of these tests harms the server."""

import asyncio

from msgspec.structs import replace

from tests.e2e.people import register
from tests.e2e.sdk import Wire, listening, new_group, new_profile, profile_of
from tests.processes import TidingsUp
from tidings.profile import Profile
from tidings.protocol import ids
from tidings.protocol.ids import ConvId
from tidings.session import State


async def two(server: TidingsUp) -> tuple[Profile, Profile, ConvId]:
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    return alice, bob, ids.direct_conversation(alice.user, bob.user)


async def test_a_message_is_stored_delivered_and_read_and_its_sender_is_told_each(server: TidingsUp) -> None:
    alice, bob, conv = await two(server)
    async with listening(alice) as at_alice, listening(bob) as at_bob:
        message_id = at_alice.client.post(conv, "hi", to=bob.user)
        await at_bob.until(lambda at: at.bodies(conv) == ["hi"])
        at_bob.client.mark_read(conv, at_bob.entries(conv)[-1].seq)
        await at_alice.until(lambda at: State.READ in at.states(message_id))
        assert at_alice.states(message_id) == [State.PENDING, State.SENDING, State.SENT, State.DELIVERED, State.READ]
        assert at_alice.entries(conv) == at_bob.entries(conv)
        assert [entry.seq for entry in at_bob.entries(conv)] == [1, 2]


async def test_who_was_offline_gets_everything_once_and_in_order_on_return(server: TidingsUp) -> None:
    alice, bob, conv = await two(server)
    async with listening(alice) as at_alice:
        async with listening(bob) as at_bob:
            await at_alice.client.send_to(bob.user, "0")
            await at_bob.until(lambda at: at.bodies(conv) == ["0"])
            positions = at_bob.client.session.positions()
        for number in range(1, 30):
            await at_alice.client.send_to(bob.user, f"{number}")
        async with listening(bob, positions=positions) as at_bob:
            await at_bob.until(lambda at: at.bodies(conv)[-1:] == ["29"])
            assert at_bob.bodies(conv) == [f"{number}" for number in range(1, 30)]
            await at_bob.until(lambda at: at.client.session.settled)
            assert at_bob.bodies(conv) == [f"{number}" for number in range(1, 30)], "delivered twice"


async def test_a_group_tells_who_has_read_and_the_tick_waits_for_the_last(server: TidingsUp) -> None:
    alice, bob, carol = [await new_profile(server, name) for name in ("Alice", "Bob", "Carol")]
    conv = await new_group(server, alice, bob, carol)
    async with listening(alice) as at_alice, listening(bob) as at_bob, listening(carol) as at_carol:
        await at_alice.until(lambda at: at.entries(conv))
        message_id = at_alice.client.post(conv, "all of you")
        for reader in (at_bob, at_carol):
            await reader.until(lambda at: at.bodies(conv) == ["all of you"])
        seq = at_bob.entries(conv)[-1].seq
        await at_alice.until(lambda at: State.DELIVERED in at.states(message_id))
        at_bob.client.mark_read(conv, seq)
        await at_alice.until(lambda at: at.has_moved(conv, bob.user, "read", seq))
        assert State.READ not in at_alice.states(message_id), "Carol has not read it"
        at_carol.client.mark_read(conv, seq)
        await at_alice.until(lambda at: State.READ in at.states(message_id))
        assert at_alice.has_moved(conv, carol.user, "read", seq)


async def test_two_devices_see_the_same_log_also_what_the_other_sent(server: TidingsUp) -> None:
    person = await register(server, "Alice")
    phone, bob = profile_of(server, person), await new_profile(server, "Bob")
    tablet = profile_of(server, await register(server, "Alice", phone=person.phone, device="tablet"))
    conv = ids.direct_conversation(phone.user, bob.user)
    async with listening(phone) as at_phone, listening(tablet) as at_tablet, listening(bob) as at_bob:
        for number in range(5):
            one, other = (at_phone, at_tablet) if number % 2 else (at_tablet, at_phone)
            await asyncio.gather(
                one.client.send_to(bob.user, f"a{number}"),
                other.client.send_to(bob.user, f"b{number}"),
                at_bob.client.send_to(phone.user, f"c{number}"),
            )
        for at in (at_phone, at_tablet, at_bob):
            await at.until(lambda at: len(at.bodies(conv)) == 15)
        assert at_phone.entries(conv) == at_tablet.entries(conv) == at_bob.entries(conv)
        assert {entry.device for entry in at_bob.entries(conv)} >= {phone.device, tablet.device, bob.device}


async def test_what_was_read_on_one_device_is_read_on_the_others_also_on_one_that_was_off(server: TidingsUp) -> None:
    person = await register(server, "Alice")
    phone, bob = profile_of(server, person), await new_profile(server, "Bob")
    tablet = profile_of(server, await register(server, "Alice", phone=person.phone, device="tablet"))
    conv = ids.direct_conversation(phone.user, bob.user)
    async with listening(bob) as at_bob, listening(phone) as at_phone:
        async with listening(tablet) as at_tablet:
            first = await at_bob.client.send_to(phone.user, "one")
            await at_phone.until(lambda at: at.bodies(conv) == ["one"])
            at_phone.client.mark_read(conv, first)
            await at_tablet.until(lambda at: at.has_moved(conv, phone.user, "read", first))
            positions = at_tablet.client.session.positions()
        second = await at_bob.client.send_to(phone.user, "two")
        await at_phone.until(lambda at: at.bodies(conv) == ["one", "two"])
        at_phone.client.mark_read(conv, second)
        await at_phone.until(lambda at: at.has_moved(conv, phone.user, "read", second))
        async with listening(tablet, positions=positions) as at_tablet:
            await at_tablet.until(lambda at: at.has_moved(conv, phone.user, "read", second))
        fresh = profile_of(server, await register(server, "Alice", phone=person.phone, device="watch"))
        async with listening(fresh) as at_watch:
            await at_watch.until(lambda at: at.has_moved(conv, phone.user, "read", second))


async def test_a_cut_in_the_middle_loses_and_doubles_nothing(server: TidingsUp) -> None:
    alice, bob, conv = await two(server)
    async with Wire(bob.ports["mqtt"]) as wire:
        cut_off = replace(bob, ports={"mqtt": wire.port})
        async with listening(alice) as at_alice, listening(cut_off) as at_bob:
            said = 0
            for _ in range(4):
                posted = [at_alice.client.post(conv, f"{said + n}", to=bob.user) for n in range(5)]
                answers = [at_bob.client.post(conv, f"re {said + n}", to=alice.user) for n in range(5)]
                said += 5
                wire.cut()
                wire.mend()
                await at_bob.until(lambda at, all_=answers: all(State.SENT in at.states(one) for one in all_))
                await at_alice.until(lambda at, all_=posted: all(State.SENT in at.states(one) for one in all_))
            await at_bob.until(lambda at: len(at.bodies(conv)) == 40)
            await at_alice.until(lambda at: len(at.bodies(conv)) == 40)
            assert at_alice.entries(conv) == at_bob.entries(conv)
            assert [body for body in at_bob.bodies(conv) if body[0] != "r"] == [f"{n}" for n in range(20)]


async def test_what_went_unheard_is_said_again_under_the_same_id(server: TidingsUp) -> None:
    alice, bob, conv = await two(server)
    async with Wire(alice.ports["mqtt"]) as wire:
        muted = replace(alice, ports={"mqtt": wire.port})
        async with listening(muted) as at_alice, listening(bob) as at_bob:
            await at_alice.until(lambda at: at.client.session.settled)
            wire.muted = True
            message_id = at_alice.client.post(conv, "do you hear me?", to=bob.user)
            await at_bob.until(lambda at: at.bodies(conv) == ["do you hear me?"])
            assert State.SENT not in at_alice.states(message_id)
            wire.cut()
            wire.mend()
            await at_alice.until(lambda at: State.SENT in at.states(message_id))
            assert State.PENDING in at_alice.states(message_id)[1:]
            await at_bob.client.send_to(alice.user, "yes")
            assert at_bob.bodies(conv)[:1] == ["do you hear me?"]
