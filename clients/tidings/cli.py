"""The command `tidings`: finds its sub-commands by the entry-point group `tidings.commands`.

Rules
- A sub-command is a function or a `typer.Typer`, loaded only when it is wanted; one that cannot be loaded says why in
  one line, and does not hinder the others.
- Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no answer (a retry may help), 130 interrupted, 70 a bug.
- Whatever goes wrong ends in one line on stderr. `TIDINGS_DEBUG=1` shows the traceback of a bug.
"""

import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import typer
import typer.core
import typer.main

from tidings.exits import BUG, INTERRUPTED, NO_ANSWER, REFUSED, NoAnswer, fail
from tidings.profile import ProfileError
from tidings.protocol.errors import Refusal

GROUP: Final = "tidings.commands"


class Commands(typer.core.TyperGroup):
    """The group of all installed sub-commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name all sub-commands, by the alphabet."""
        return sorted(entry.name for entry in entry_points(group=GROUP))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one sub-command; None when there is none of that name."""
        found = [entry for entry in entry_points(group=GROUP) if entry.name == cmd_name]
        return _loaded(found[0]) if found else None


def _loaded(entry: EntryPoint) -> Any:
    try:
        target = entry.load()
    except Exception as error:  # a broken extra must not break `tidings --help`, whatever it raises at import
        return _broken(entry, error)
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
        command.name = entry.name
        return command
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(entry.name)(target)
    return typer.main.get_command(app)


def _broken(entry: EntryPoint, error: Exception) -> Any:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    app = typer.Typer(add_completion=False)
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}

    @app.command(entry.name, help=f"(cannot be loaded: {reason})", context_settings=settings, add_help_option=False)
    def broken() -> None:
        fail(f"'{entry.name}' cannot be loaded ({reason}); is the package that brings it installed whole?", REFUSED)

    return typer.main.get_command(app)


_app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tidings: durable conversations over MQTT. Accounts are files in TIDINGS_HOME, or ~/.tidings.",
    epilog="Example: tidings send --as alice bob 'hi'",
)


@_app.callback()
def _root() -> None: ...


def main() -> None:
    """Run the command line."""
    try:
        _app()
    except (Refusal, ProfileError, NoAnswer) as error:
        fail(_line(error), _status(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(REFUSED) from None
    except Exception as error:
        if os.environ.get("TIDINGS_DEBUG"):
            raise
        fail(f"this is a bug: {type(error).__name__}: {error} (TIDINGS_DEBUG=1 shows where)", BUG)


def _line(error: Exception) -> str:
    if isinstance(error, Refusal) and error.text != error.kind.advice:
        return f"{error.text} ({error.code}). {error.kind.advice}"
    return str(error)


def _status(error: Exception) -> int:
    if isinstance(error, NoAnswer) or (isinstance(error, Refusal) and error.kind.retryable):
        return NO_ANSWER
    return REFUSED


if __name__ == "__main__":
    main()
