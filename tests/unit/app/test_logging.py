"""Logs: JSON lines, and nothing secret in them."""

import json
import logging
import subprocess
import sys

import pytest

from app.logging import mask_secrets

PROGRAM = """
import logging, structlog
from app.logging import set_up_logging
set_up_logging("info", "json")
structlog.get_logger("a").info("logged in", token="t0psecret", user="u")
logging.getLogger("b").warning("plain %s", "line")
logging.getLogger("c").debug("not shown")
"""


def test_every_line_is_json_and_secrets_are_masked() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["logged in", "plain line"]
    assert lines[0]["token"] == "***"
    assert lines[0]["user"] == "u"
    assert "t0psecret" not in done.stderr


@pytest.mark.parametrize("name", ["token", "Token", "password", "Authorization", "refreshToken", "code"])
def test_what_is_named_like_a_secret_is_masked(name: str) -> None:
    assert mask_secrets(logging.getLogger(), "info", {name: "x"}) == {name: "***"}
