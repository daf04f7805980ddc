"""Choosing ports: asked-for ones or none, default ones or the next free."""

import socket
from collections.abc import Iterator

import pytest

from app.listening import PortTaken, choose_ports, is_free, next_free
from app.settings import Settings
from tests.processes import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield port


def test_an_asked_for_port_that_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(PortTaken, match=rf"^port {taken} \(TIDINGS_HTTP_PORT\) is taken; [^\n]+$"):
        choose_ports(Settings(http_port=taken))


def test_a_default_port_that_is_taken_is_replaced_and_told(taken: int) -> None:
    settings = Settings.model_construct(_fields_set=set(), **(Settings().model_dump() | {"http_port": taken}))
    ports, notes = choose_ports(settings)
    assert taken < ports["http_port"] < 32768
    assert f"port {taken} is taken: http_port is {ports['http_port']}" in notes


def test_two_listeners_never_get_one_port() -> None:
    port = free_port()
    with pytest.raises(PortTaken):
        choose_ports(Settings(mqtt_port=port, http_port=port))


def test_next_free_skips_what_is_taken(taken: int) -> None:
    assert not is_free("127.0.0.1", taken)
    assert next_free("127.0.0.1", taken, [taken + 1]) > taken + 1


def test_no_port_above_32767_is_given() -> None:
    with pytest.raises(PortTaken, match="no free port"):
        next_free("127.0.0.1", 32768)
