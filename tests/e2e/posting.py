"""A client process for `test_sdk_harm`: connects as an account, posts one text when a line comes, and waits to be
killed."""

import asyncio
import sys
from pathlib import Path

from tidings import profile
from tidings.aio import Client
from tidings.cache import Cache
from tidings.protocol import ids


async def main(home: Path, account: str, conv: str, to: str) -> None:
    """Say `connected`, then `posted`."""
    with Cache(profile.path_of(account, home, ".db")) as cache:
        async with Client(profile.load(account, home), outbox=cache) as client:
            await client.connected.wait()
            print("connected", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            client.post(ids.conv_id(conv), "outlives me", to=ids.user_id(to))
            print("posted", flush=True)
            await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
