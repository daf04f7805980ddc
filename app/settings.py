"""Settings of every process: environment, then one file, then defaults; typed, validated, printable.

Rules
- Every setting is `TIDINGS_` and its name in capitals; `TIDINGS_CONFIG` names a TOML file (default `tidings.toml`,
  if there).
- An unknown key in the file, or a value that does not fit, ends in one line that names the setting.
- Secrets are no settings: keys are made at the first start and lie in the data folder, mode 0600.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PORTS = {"mqtt_port": 1883, "websocket_port": 8083, "http_port": 8080}
"""The default ports, in the order in which they are looked for."""


class BadSettings(Exception):
    """A setting that cannot be used; the text is one line for the operator."""


class Settings(BaseSettings):
    """What an operator may choose. Ports 0–65535 (0: not offered, only for TLS), times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_", extra="forbid", frozen=True)

    data: Path = Field(Path("var"), description="folder of everything that is kept")
    host: str = Field("127.0.0.1", description="address to listen on")
    public_host: str = Field("", description="host name that login answers tell devices; default: `host`")
    mqtt_port: int = Field(PORTS["mqtt_port"], ge=1, le=65535, description="MQTT over TCP")
    websocket_port: int = Field(PORTS["websocket_port"], ge=1, le=65535, description="MQTT over WebSocket, path /mqtt")
    http_port: int = Field(PORTS["http_port"], ge=1, le=65535, description="HTTP API")
    tls_port: int = Field(0, ge=0, le=65535, description="MQTT over TLS; needs tls_certificate and tls_key")
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate chain")
    tls_key: Path | None = Field(None, description="PEM file with the private key")
    broker: Literal["embedded", "mosquitto", "amqtt"] = Field("embedded", description="which broker `tidings up` runs")
    development: bool = Field(True, description="SMS go to the development inbox; loopback has no address limits")
    limits_messages_a_minute: int = Field(100, ge=0, description="messages a user may send a minute; 0: no limit")
    token_seconds: int = Field(3_600, ge=60, le=86_400, description="lifetime of an access token")
    refresh_days: int = Field(30, ge=1, le=365, description="lifetime of a refresh token")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="least level that is logged")
    log_format: Literal["json", "text"] = Field("json", description="form of a log line")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        path = Path(os.environ.get("TIDINGS_CONFIG", "tidings.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    def asked_for(self, port: str) -> bool:
        """Whether somebody chose this port, so that another may not take its place."""
        return port in self.model_fields_set


def load_settings(**chosen: Any) -> Settings:
    """Read the settings; `chosen` (not None) wins. Raises `BadSettings` with one line."""
    given = os.environ.get("TIDINGS_CONFIG")
    if given and not Path(given).is_file():
        raise BadSettings(f"TIDINGS_CONFIG names {given}, which is not a file")
    try:
        settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "TIDINGS_" + "_".join(str(part) for part in first["loc"]).upper()
        raise BadSettings(f"{name}: {first['msg']} (got {first.get('input')!r})") from None
    except ValueError as error:
        raise BadSettings(f"the configuration file cannot be read: {error}") from None
    if settings.tls_port and not (settings.tls_certificate and settings.tls_key):
        raise BadSettings("TIDINGS_TLS_PORT needs TIDINGS_TLS_CERTIFICATE and TIDINGS_TLS_KEY")
    return settings
