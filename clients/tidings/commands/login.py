"""`tidings login`: prove a phone number and keep the account here.

A number without an account gets one; every login is a new device.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidings import profile as profiles
from tidings.aio import now_ms
from tidings.api import Api
from tidings.exits import USAGE, fail


def command(
    phone: Annotated[str, typer.Argument(help="phone number with + and country code")],
    account: Annotated[str, typer.Option("--as", help="what to call the account here")],
    server: Annotated[str, typer.Option(help="base URL of the server's API")] = "http://127.0.0.1:8080",
    name: Annotated[str, typer.Option(help="the name others see; the account's name here unless given")] = "",
    code: Annotated[str, typer.Option(help="the code of the SMS; asked for unless given")] = "",
    verification: Annotated[str, typer.Option(help="the verification that --code answers")] = "",
) -> None:
    """Log in as a new device by a code that comes by SMS.

    Exit status: 0 logged in, 1 refused, 2 wrong usage, 3 the server does not answer.

    Example: tidings login +4915112345678 --as alice --name 'Alice'
    """
    profiles.path_of(account)
    if not verification:
        verification = asyncio.run(_register(server, phone, name or account))
    path = asyncio.run(_verify(server, verification, code or _asked(phone), account))
    print(f"logged in; {account} is kept in {path}")


def _asked(phone: str) -> str:
    print(f"Code that was sent to {phone}: ", end="", file=sys.stderr, flush=True)
    if not (typed := sys.stdin.readline().strip()):
        fail("no code was given", USAGE)
    return typed


async def _register(server: str, phone: str, name: str) -> str:
    async with Api(server) as api:
        return await api.register(phone, name)


async def _verify(server: str, verification: str, code: str, account: str) -> Path:
    async with Api(server) as api:
        answer = await api.verify(verification, code.strip(), "tidings command line")
    forgotten = profiles.path_of(account, suffix=".db")
    path = profiles.save(account, profiles.from_login(server, answer, now_ms()))
    for suffix in ("", "-wal", "-shm"):  # positions and outbox were another device's
        forgotten.with_name(forgotten.name + suffix).unlink(missing_ok=True)
    return path
