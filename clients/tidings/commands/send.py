"""`tidings send`: say something and wait until it is stored.

The message goes into the account's outbox first. When another process of this account holds the MQTT session (a
`tidings listen`), it goes by HTTP instead.
"""

import asyncio
import json
from typing import Annotated

import typer

from tidings import profile as profiles
from tidings.aio import Client, new_message_id, now_ms
from tidings.api import Api
from tidings.cache import Cache
from tidings.exits import NoAnswer
from tidings.profile import Profile
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import ConvId, UserId
from tidings.protocol.payloads import SendMessage
from tidings.renewal import fresh, renewed


def command(
    to: Annotated[str, typer.Argument(help="a user id, a conversation id, or an account's name known here")],
    text: Annotated[str, typer.Argument(help="what to say, at most 64 KiB")],
    account: Annotated[str, typer.Option("--as", help="the account that speaks")],
    as_json: Annotated[bool, typer.Option("--json", help="print {conv, seq} as JSON")] = False,
    within: Annotated[float, typer.Option("--timeout", help="seconds to wait", min=0.1)] = 15.0,
) -> None:
    """Send a text and wait until it is stored; prints its number in the conversation.

    Exit status: 0 stored, 1 refused, 2 wrong usage, 3 no answer in time (the message stays in the outbox and goes out
    with the account's next command).

    Example: tidings send --as alice bob 'hi'
    """
    conv, seq = asyncio.run(_send(account, to, text, within))
    print(json.dumps({"conv": conv, "seq": seq}) if as_json else f"stored as number {seq} of {conv}")


async def _send(account: str, to: str, text: str, within: float) -> tuple[ConvId, int]:
    me = await fresh(account, now_ms())
    conv, peer = profiles.recipient(me, to)
    with profiles.held(account) as by_mqtt:
        sending = _by_mqtt(account, me, conv, peer, text) if by_mqtt else _by_http(me, conv, peer, text)
        try:
            return conv, await asyncio.wait_for(sending, within)
        except TimeoutError:
            later = "it is sent with the account's next command" if by_mqtt else "whether it was stored is not known"
            raise NoAnswer(f"no answer from {me.host} within {within:g} s; {later}") from None


async def _by_mqtt(account: str, me: Profile, conv: ConvId, peer: UserId, text: str) -> int:
    with Cache(profiles.path_of(account, suffix=".db")) as cache:
        async with Client(
            me,
            outbox=cache,
            positions=cache.positions(),
            listening=False,
            refresh=lambda known: renewed(account, known, now_ms()),
        ) as client:
            return await client.send(conv, text, to=peer)


async def _by_http(me: Profile, conv: ConvId, peer: UserId, text: str) -> int:
    now = now_ms()
    message = SendMessage(new_message_id(), text, to=peer, sent_at=now)
    async with Api(me.server, me.token) as api:
        while True:
            try:
                return await api.send(conv, message)
            except Refusal as refusal:
                if not refusal.kind.retryable:
                    raise
                await asyncio.sleep(max(0.5, refusal.retry_after))
