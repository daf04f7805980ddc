"""`tidings history`: read a conversation's past."""

import asyncio
from typing import Annotated

import typer

from tidings import profile as profiles
from tidings.aio import now_ms
from tidings.api import Api, Page
from tidings.commands.render import known_names, line
from tidings.protocol import codec, limits
from tidings.renewal import fresh


def command(
    conversation: Annotated[str, typer.Argument(help="a conversation id, a user id, or an account's name known here")],
    account: Annotated[str, typer.Option("--as", help="the account that reads")],
    as_json: Annotated[bool, typer.Option("--json", help="print each entry as a line of JSON")] = False,
    before: Annotated[int, typer.Option(help="only entries below this number", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="how many at most", min=1, max=limits.HISTORY_PAGE_MOST)] = 50,
) -> None:
    """Print the last entries of a conversation, oldest first.

    Exit status: 0 printed, 1 refused, 2 wrong usage, 3 the server does not answer.

    Example: tidings history --as bob alice --limit 10
    """
    names = known_names()
    for entry in asyncio.run(_page(account, conversation, before, limit)).messages:
        print(codec.encode(entry).decode() if as_json else line(entry, names))


async def _page(account: str, conversation: str, before: int, limit: int) -> Page:
    me = await fresh(account, now_ms())
    conv, _ = profiles.recipient(me, conversation)
    async with Api(me.server, me.token) as api:
        return await api.history(conv, before=before, limit=limit)
