"""`tidings login`, and renewing a token, against the least HTTP server."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from tests.processes import free_port
from tests.unit.session.server import ALICE, PHONE
from tests.unit.session.test_api import LOGIN
from tidings import profile, renewal
from tidings.commands.login import command


class Handler(http.server.BaseHTTPRequestHandler):
    asked: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        answer = (
            {"verificationId": "v1"} if self.path.endswith("register") else {**LOGIN, "token": f"t{len(self.asked)}"}
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    asked: list[tuple[str, Any]] = []
    handler = type("Bound", (Handler,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def test_login_asks_for_the_code_and_keeps_the_account(
    server: tuple[str, list[tuple[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    monkeypatch.setenv("TIDINGS_HOME", str(tmp_path))
    (tmp_path / "alice.db").write_text("of the device before")

    app = typer.Typer()
    app.command()(command)
    arguments = ["+491", "--as", "alice", "--server", url, "--name", "Alice"]
    done = CliRunner().invoke(app, arguments, input="123456\n")
    assert done.exit_code == 0, done.output
    assert asked[0] == ("/api/auth/register", {"phoneNumber": "+491", "name": "Alice"})
    assert asked[1][1]["code"] == "123456"
    assert (profile.load("alice").user, profile.load("alice").device) == (ALICE, PHONE)
    assert not (tmp_path / "alice.db").exists()


async def test_two_who_renew_the_same_token_use_it_once(
    server: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, asked = server
    old = replace(profile.from_login(url, LOGIN, 0), since=5)
    profile.save("alice", old, tmp_path)
    first, second = await asyncio.gather(*(renewal.renewed("alice", old, 1_000, tmp_path) for _ in range(2)))
    assert first == second == profile.load("alice", tmp_path)
    assert (len(asked), first.since, first.expires_at) == (1, 5, 61_000)


async def test_a_token_is_renewed_before_it_ends_and_not_earlier(
    server: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, asked = server
    kept = replace(profile.from_login(url, LOGIN, 0), expires_at=1_000_000)
    profile.save("alice", kept, tmp_path)
    assert await renewal.fresh("alice", 1_000_000 - renewal.EARLY_MS, tmp_path) == kept
    assert asked == []
    assert await renewal.fresh("alice", 1_000_001 - renewal.EARLY_MS, tmp_path) != kept
