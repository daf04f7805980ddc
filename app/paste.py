"""The lines that a newcomer pastes into another terminal; every one of them works as printed (tests/e2e)."""

import os
import shlex
import sys
from pathlib import Path

from app.cast import CAROL, PROFILES
from tidings.profile import Profile
from tidings.protocol import ids


def lines(server: str, data: Path, alice: Profile, bob: Profile) -> list[str]:
    """List them: headings end with a colon. `alice` and `bob` are devices of their own for the stock clients."""
    tidings = _shortest(Path(sys.argv[0]))
    home = f"TIDINGS_HOME={shlex.quote(_relative(data / PROFILES))} {tidings}"
    json = "-H 'content-type: application/json'"
    ask = f"""-d '{{"phoneNumber":"{CAROL.phone}","name":"{CAROL.name}"}}'"""
    prove = """-d "{\\"verificationId\\":\\"$ID\\",\\"code\\":\\"$CODE\\"}" """.strip()
    return [
        "register and log in by HTTP:",
        f"ID=$(curl -s {server}/api/auth/register {json} {ask} | cut -d'\"' -f4); echo $ID",
        f"CODE=$(TIDINGS_DATA={shlex.quote(_relative(data))} {tidings} sms --code {CAROL.phone}); echo $CODE",
        f"curl -s {server}/api/auth/verify-otp {json} {prove}",
        "listen as Bob, and write to him as Alice:",
        f"{home} listen --as bob",
        f"{home} send --as alice bob 'hi'",
        "the same with stock clients, another device each:",
        _subscribe(bob),
        _publish(alice, bob),
        "how it is:",
        f"curl -s {server}/readyz",
        f"curl -s {server}/metrics | grep tidings_",
    ]


def _subscribe(who: Profile) -> str:
    topics = f"-t 'u/{who.user}/in/#' -t 'u/{who.user}/{who.device}/in/#'"
    return f"mosquitto_sub {_login(who)} -c -q 1 -v {topics}"


def _publish(who: Profile, to: Profile) -> str:
    conv = ids.direct_conversation(who.user, to.user)
    topic = f"u/{who.user}/{who.device}/to/{ids.lane_of(conv)}/{to.user}"
    return f"mosquitto_pub {_login(who)} -c -q 1 -t '{topic}' -m 'hi from mosquitto_pub'"


def _login(who: Profile) -> str:
    return f"-h {who.host} -p {who.ports['mqtt']} -i '{who.client_id}' -u '{who.user}' -P '{who.token}'"


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path.resolve())


def _shortest(command: Path) -> str:
    return shlex.quote(_relative(command)) if command.exists() else "tidings"
