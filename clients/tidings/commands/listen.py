"""`tidings listen`: print what comes, and tell its senders.

How far each conversation was printed is kept in the account's cache, so that the next `listen` goes on from there.
"""

import asyncio
import signal
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from tidings import profile as profiles
from tidings.aio import Client, now_ms
from tidings.cache import Cache
from tidings.commands.render import known_names, line
from tidings.exits import REFUSED, NoAnswer, fail
from tidings.protocol import codec
from tidings.protocol.payloads import Message, is_event
from tidings.renewal import fresh, renewed

CONNECT_SECONDS: Final = 10.0
"""How long the first connection may take; one that is lost later is sought as long as it takes."""


def command(
    account: Annotated[str, typer.Option("--as", help="the account that listens")],
    as_json: Annotated[bool, typer.Option("--json", help="print each entry as a line of JSON")] = False,
    count: Annotated[int, typer.Option(help="end after so many messages of others; 0: never", min=0)] = 0,
    read: Annotated[bool, typer.Option(help="tell the senders that it was read")] = True,
) -> None:
    """Print the entries of all conversations as they come, first those that came since the last time.

    Exit status: 0 after `--count` messages or Ctrl-C, 1 refused (or another process listens as this account), 2 wrong
    usage, 3 the server does not answer.

    Example: tidings listen --as bob --count 1 --json
    """
    with profiles.held(account) as free:
        if not free:
            fail(f"another process is connected as {account}; stop it first", REFUSED)
        asyncio.run(_listen(account, as_json, count, read))


async def _listen(account: str, as_json: bool, count: int, read: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = asyncio.create_task(_print_entries(account, as_json, count, read))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((listening, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if listening.done():
        listening.result()
    else:
        listening.cancel()
        await asyncio.wait([listening])


async def _print_entries(account: str, as_json: bool, count: int, read: bool) -> None:
    me = await fresh(account, now_ms())
    names = known_names()
    with Cache(profiles.path_of(account, suffix=".db")) as cache:
        client = Client(
            me, outbox=cache, positions=cache.positions(), refresh=lambda stale: renewed(account, stale, now_ms())
        )
        async with client:
            await _online(client)
            left = count
            async for entry in client:
                if entry.at >= me.since:
                    print(codec.encode(entry).decode() if as_json else line(entry, names), flush=True)
                    left -= _counts(entry, client)
                    if read:
                        client.mark_read(entry.conv, entry.seq)
                _keep(cache, client, entry)
                if count and left <= 0:
                    break
            await client.drained()


async def _online(client: Client) -> None:
    try:
        await asyncio.wait_for(client.online(), CONNECT_SECONDS)
    except TimeoutError:
        at = f"{client.profile.host}:{client.profile.ports['mqtt']}"
        raise NoAnswer(f"no connection to {at} within {CONNECT_SECONDS:g} s") from None


def _counts(entry: Message, client: Client) -> bool:
    visible = entry.kind != "tombstone" and not is_event(entry.kind)
    return visible and entry.from_ != client.profile.user


def _keep(cache: Cache, client: Client, entry: Message) -> None:
    position = client.session.position(entry.conv)
    if position is not None:  # the session may be ahead of what was printed
        cache.reached(entry.conv, replace(position, base=min(position.base, entry.seq), applied=entry.seq))
