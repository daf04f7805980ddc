"""`tidings up`: everything in one process."""

import sys
from typing import Annotated

import typer


def command(
    quiet: Annotated[bool, typer.Option("--quiet", help="no transcript, no lines to paste")] = False,
) -> None:
    """Start broker, bridge and HTTP API in one process, on embedded defaults.

    MQTT 1883, MQTT over WebSocket 8083 (/mqtt), HTTP 8080, data in ./var; settings: docs/settings.md.

    Example: TIDINGS_DATA=/srv/tidings TIDINGS_HTTP_PORT=8000 tidings up --quiet

    Exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 bad settings, a taken port or folder.
    """
    # Imported here, so that `tidings --help` needs no server.
    from app.up import run

    sys.exit(run(quiet=quiet))
