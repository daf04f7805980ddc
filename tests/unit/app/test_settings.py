"""Settings: where a value comes from, and one line for every mistake."""

from pathlib import Path

import pytest

from app.settings import BadSettings, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDINGS_CONFIG", raising=False)


def test_defaults_are_the_documented_ports() -> None:
    settings = load_settings()
    assert (settings.mqtt_port, settings.websocket_port, settings.http_port) == (1883, 8083, 8080)
    assert not settings.asked_for("mqtt_port")


def test_environment_wins_over_file_and_arguments_over_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tidings.toml").write_text("mqtt_port = 2001\nhttp_port = 2002\nwebsocket_port = 2003\n")
    monkeypatch.setenv("TIDINGS_HTTP_PORT", "3002")
    monkeypatch.setenv("TIDINGS_WEBSOCKET_PORT", "3003")
    settings = load_settings(websocket_port=4003)
    assert (settings.mqtt_port, settings.http_port, settings.websocket_port) == (2001, 3002, 4003)
    assert settings.asked_for("mqtt_port")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MQTT_PORT", "0"), ("MQTT_PORT", "65536"), ("MQTT_PORT", "x"), ("BROKER", "rabbit"), ("TOKEN_SECONDS", "59")],
)
def test_a_value_that_does_not_fit_is_one_line_naming_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TIDINGS_{name}", value)
    with pytest.raises(BadSettings, match=f"^TIDINGS_{name}: [^\n]+$"):
        load_settings()


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tidings.toml").write_text("mqtt_prot = 1883\n")
    with pytest.raises(BadSettings, match="TIDINGS_MQTT_PROT"):
        load_settings()


def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tidings.toml").write_text("mqtt_port = = 3")
    with pytest.raises(BadSettings, match=r"^the configuration file cannot be read: [^\n]+$"):
        load_settings()


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_CONFIG", "nowhere.toml")
    with pytest.raises(BadSettings, match=r"nowhere\.toml"):
        load_settings()


def test_tls_needs_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_TLS_PORT", "8883")
    with pytest.raises(BadSettings, match="TIDINGS_TLS_CERTIFICATE"):
        load_settings()
