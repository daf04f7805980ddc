"""`tidings bridge dead …`: the dead letters, looked at, replayed and dropped."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.commands.given import given_settings
from app.replay import replay
from app.running import Running, find
from app.settings import Settings
from app.shelves import opened
from stores.ports.deadletters import DeadLetter, DeadLetters
from tidings.exits import fail
from tidings.protocol.errors import LinkLost, Refusal, StoreUnavailable

R = TypeVar("R")

command = typer.Typer(no_args_is_help=True, help="Look after the bridge. Example: tidings bridge dead list")
dead = typer.Typer(no_args_is_help=True, help="Messages that could not be processed. Example: tidings bridge dead list")
command.add_typer(dead, name="dead")

Numbers = Annotated[list[int], typer.Argument(help="numbers of letters, as `list` shows them")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table")]


@dead.command("list")
def list_(
    as_json: AsJson = False,
    after: Annotated[int, typer.Option(help="only those with a higher number")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 100,
) -> None:
    """List dead letters, oldest first.

    Example: tidings bridge dead list --json

    Exit codes: 0 listed, 1 the store cannot be read, 2 bad settings.
    """
    letters = _with_letters(lambda kept: kept.page(after=after, limit=limit))
    if as_json:
        typer.echo(json.dumps([_told(letter) for letter in letters], ensure_ascii=False))
        return
    table = Table("number", "when (UTC)", "code", "topic", "bytes", "reason")
    for letter in letters:
        size = str(len(letter.payload))
        table.add_row(str(letter.number), _when(letter), letter.code, letter.topic, size, letter.reason)
    Console().print(table if letters else "no dead letters")


@dead.command()
def show(number: Annotated[int, typer.Argument(help="its number")], as_json: AsJson = False) -> None:
    """Show one dead letter whole, with its payload.

    Example: tidings bridge dead show 17

    Exit codes: 0 shown, 1 there is none, 2 bad settings.
    """
    letter = _with_letters(lambda kept: kept.get(number))
    if letter is None:
        fail(f"there is no dead letter {number}; `tidings bridge dead list` shows them", 1)
    told = _told(letter)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for name, value in told.items():
        typer.echo(f"{name:8} {value}")


@dead.command("replay")
def replay_(numbers: Numbers) -> None:
    """Publish dead letters to their topics again, in the given order, and drop each after its acknowledgement.

    The server must be running on this data folder.

    Example: tidings bridge dead replay 17 18

    Exit codes: 0 all replayed, 1 one could not be, 2 bad settings, 3 no server runs.
    """
    settings = given_settings()
    running = find(settings.data)
    if running is None:
        fail(f"no server runs on {settings.data}; start `tidings up`", 3)

    async def all_of_them(kept: DeadLetters) -> None:
        for number in track(numbers, "replaying", disable=len(numbers) < 10, console=Console(stderr=True)):
            await _replay_one(number, kept, settings, running)

    _with_letters(all_of_them)
    typer.echo(f"{len(numbers)} replayed")


@dead.command()
def drop(numbers: Numbers) -> None:
    """Delete dead letters for good.

    Example: tidings bridge dead drop 17

    Exit codes: 0 deleted, 1 one of them was not there, 2 bad settings.
    """
    dropped = _with_letters(lambda kept: kept.drop(numbers))
    typer.echo(f"{dropped} dropped")
    if dropped < len(set(numbers)):
        raise typer.Exit(1)


async def _replay_one(number: int, kept: DeadLetters, settings: Settings, running: Running) -> None:
    letter = await kept.get(number)
    if letter is None:
        fail(f"there is no dead letter {number}; `tidings bridge dead list` shows them", 1)
    try:
        await replay(letter, kept, settings.data, running)
    except Refusal as refusal:
        fail(refusal.text, 1)
    except LinkLost as error:
        fail(f"the broker does not answer on {running.host}:{running.mqtt}: {error}", 3)


def _with_letters(use: Callable[[DeadLetters], Awaitable[R]]) -> R:
    """Open the store, use it, close it."""
    data = given_settings().data
    if not (data / "log.db").exists():
        fail(f"there is no message store in {data}; set TIDINGS_DATA to the server's folder", 1)

    async def use_it() -> R:
        async with opened(data, CollectorRegistry()) as shelves:
            return await use(shelves.dead_letters)

    try:
        return asyncio.run(use_it())
    except StoreUnavailable as error:
        fail(f"the message store in {data} cannot be used: {error}", 1)


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "at": letter.at,
        "group": letter.group,
        "topic": letter.topic,
        "code": letter.code,
        "reason": letter.reason,
        "payload": letter.payload.decode("utf-8", "backslashreplace"),
    }


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
