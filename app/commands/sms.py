"""`tidings sms`: read the development inbox."""

import json
from typing import Annotated

import typer

from app.cast import INBOX, read_code
from app.commands.given import given_settings
from services.sms import read_inbox
from tidings.exits import REFUSED, fail


def command(
    phone: Annotated[str, typer.Argument(help="only this number, as +447700900001")] = "",
    code: Annotated[bool, typer.Option("--code", help="print only the newest code")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Read the text messages of the development inbox (TIDINGS_DATA names the server's folder).

    Example: tidings sms --code +447700900001

    Exit codes: 0 printed, 1 there is none, 2 bad settings.
    """
    data = given_settings().data
    found = read_inbox(data / INBOX, phone)
    if not found:
        fail(f"no message{f' for {phone}' if phone else ''} in {data / INBOX}", REFUSED)
    if code:
        typer.echo(read_code(data, phone or found[-1].phone))
        return
    for sms in found:
        line = {"at": sms.at, "phone": sms.phone, "text": sms.text}
        typer.echo(json.dumps(line, ensure_ascii=False) if as_json else f"{sms.phone}  {sms.text}")
