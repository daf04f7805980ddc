"""The examples of the documentation run as they stand."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.cast import read_code
from tests.processes import TidingsUp, until

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


class Example:
    """A running example whose question for the code is answered from the development inbox."""

    def __init__(self, server: TidingsUp, phone: str, *arguments: str) -> None:
        self.log = server.data.parent / f"{phone}.txt"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, EXAMPLES / "stock_client.py", server.url, phone, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        assert self.process.stdin is not None
        until(lambda: "code:" in self.output, within=20, what="the question", because=lambda: self.output)
        self.process.stdin.write(read_code(server.data, phone).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def output(self) -> str:
        return self.log.read_text()

    def until(self, text: str) -> None:
        until(lambda: text in self.output, within=20, what=text, because=lambda: self.output)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_two_stock_clients_talk(tmp_path: Path) -> None:
    server = TidingsUp(tmp_path / "data").start()
    running: list[Example] = []
    try:
        running.append(Example(server, "+447700900008", "Dora"))
        running[0].until("I am ")
        dora = running[0].output.split("I am ")[1].split()[0]
        running.append(Example(server, "+447700900009", "Emil", dora))
        for one in running:
            one.until("/in/msg 2 hello")
            one.until("/in/msg 3 hello again, by MQTT")
        assert httpx.get(f"{server.url}/readyz").status_code == 200
    finally:
        for one in running:
            one.stop()
        server.stop()
