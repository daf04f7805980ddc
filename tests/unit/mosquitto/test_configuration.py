"""The configuration's text, and the control file's form."""

from pathlib import Path

import pytest

from acl.private import write_private
from broker.mosquitto import control
from broker.mosquitto.configuration import Settings, configuration
from broker.mosquitto.control import BadControl, Control
from broker.port import Limits
from stores.ports.accounts import Revocation
from tidings.protocol.ids import DeviceId, Group, UserId

SETTINGS = Settings(
    folder=Path("/data/mosquitto"),
    mqtt=1883,
    websocket=8083,
    plugin=Path("/data/plugin.so"),
    python=Path("/environment/bin/python"),
    limits=Limits(inflight=7, queue_messages=8, queue_bytes=9, packet_bytes=10, connections=11),
)


def test_nobody_is_anonymous_and_everybody_is_asked() -> None:
    lines = configuration(SETTINGS, parent=42).splitlines()
    assert "allow_anonymous false" in lines
    assert "plugin /data/plugin.so" in lines
    assert "plugin_opt_folder /data/mosquitto" in lines
    assert "plugin_opt_parent 42" in lines
    assert not [line for line in lines if line.startswith(("password_file", "acl_file", "plugin_opt_gate"))]


def test_limits_are_those_of_the_port() -> None:
    lines = configuration(SETTINGS, parent=0).splitlines()
    wanted = {
        "max_inflight_messages 7",
        "max_queued_messages 8",
        "max_queued_bytes 9",
        "max_packet_size 10",
        "persistent_client_expiration 720h",
        "autosave_on_changes true",
    }
    assert wanted <= set(lines)
    assert lines.count("max_connections 11") == 2, "both listeners"


def test_a_control_is_read_as_it_was_written() -> None:
    cut = Revocation(UserId("alice"), DeviceId("phone"), 5, gone=True)
    told = Control(admitted=True, operator="00", version=3, groups=(Group("a"),), revocations=(cut,))
    assert control.decode(control.encode(told)) == told


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'{"admitted": 1, "operator": ""}'])
def test_what_is_no_control_is_refused(raw: bytes) -> None:
    with pytest.raises(BadControl):
        control.decode(raw)


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / control.CONTROL
    (tmp_path / f".{control.CONTROL}.new").write_text("half of a crash")
    write_private(path, b"one", durable=False)
    with path.open("rb") as reader:
        write_private(path, b"two", durable=False)
        assert reader.read() == b"one", "a reader sees the old one whole"
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [control.CONTROL]
