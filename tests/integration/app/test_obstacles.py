"""What keeps a server from starting is told in one line, whatever it is, and leaves nothing running."""

import asyncio
import socket
import sqlite3
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.folder import FolderUnusable
from app.house import House
from app.listening import PortTaken, choose_ports
from app.obstacles import Obstacle, told
from app.settings import BadSettings, Settings, load_settings
from tests.processes import free_port

FILES = ("keys.json", "codes.key", "log.db", "app.db", "broker.db")


def settings_in(folder: Path, **more: object) -> Settings:
    ports = {name: free_port() for name in ("mqtt_port", "websocket_port", "http_port")}
    return load_settings(data=folder, **(ports | more))


async def started(settings: Settings) -> None:
    folder = settings.data
    folder.mkdir(exist_ok=True)
    async with House(settings, choose_ports(settings)[0], CollectorRegistry()):
        pass


async def hindered(settings: Settings) -> str:
    with pytest.raises((Obstacle, FolderUnusable, BadSettings, PortTaken)) as caught:
        await started(settings)
    await asyncio.sleep(0)
    assert [one for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", FILES)
async def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x93no such thing" * 700)
    path.chmod(0o600)
    assert name in await hindered(settings_in(tmp_path))


@pytest.mark.parametrize("name", FILES)
async def test_a_folder_in_a_files_place_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    assert name in await hindered(settings_in(tmp_path))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("broker.db", "PRAGMA user_version = 99"),
        ("log.db", "UPDATE alembic_log SET version_num = '9999'"),
        ("app.db", "UPDATE alembic_app SET version_num = '9999'"),
    ],
)
async def test_a_store_of_a_newer_release_is_not_touched(tmp_path: Path, name: str, change: str) -> None:
    await started(settings_in(tmp_path))
    with sqlite3.connect(tmp_path / name) as store:
        store.execute(change)
    store.close()
    assert name in await hindered(settings_in(tmp_path))


@pytest.mark.parametrize("name", ["mqtt_port", "websocket_port", "http_port", "tls_port"])
async def test_a_port_that_is_taken_after_it_was_chosen(
    tmp_path: Path, name: str, certificate: dict[str, Path]
) -> None:
    settings = settings_in(tmp_path, tls_port=free_port(), **certificate)
    ports = choose_ports(settings)[0]
    port = ports.get(name, settings.tls_port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(Obstacle, match=str(port)):
            async with House(settings, ports, CollectorRegistry()):
                pass
    await started(settings_in(tmp_path))


async def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    settings = settings_in(tmp_path, tls_port=free_port(), tls_certificate=nothing, tls_key=nothing)
    assert "TIDINGS_TLS_CERTIFICATE" in await hindered(settings)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_ours(tmp_path: Path, host: str) -> None:
    with pytest.raises(PortTaken, match="TIDINGS_HOST"):
        choose_ports(settings_in(tmp_path, host=host))


def test_a_full_disk_and_a_slow_start(tmp_path: Path) -> None:
    for error, word in (
        (OSError(28, "No space left on device", str(tmp_path / "keys.json")), "No space left"),
        (TimeoutError(), "in time"),
    ):
        with pytest.raises(Obstacle, match=word), told(tmp_path):
            raise error


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    """A self-signed certificate, as settings."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"tls_certificate": pem, "tls_key": pem}
