"""The SDK over TLS, with a certificate of the test's own authority, and over WebSocket."""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.sdk import listening, new_profile
from tests.processes import TidingsUp, free_port
from tidings.aio import Client
from tidings.protocol import ids
from tidings.protocol.errors import Refusal
from tidings.session import State
from tidings.transport import Transport


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine's loopback; its file and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidings test")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    at, key_at = folder / "tls.pem", folder / "tls.key"
    at.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_at.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    return at, key_at


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TidingsUp, Path]]:
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = self_signed(folder)
    settings = {"tls_port": str(free_port()), "tls_certificate": str(certificate), "tls_key": str(key)}
    running = TidingsUp(folder / "data", **settings).start()
    yield running, certificate
    running.stop()


@pytest.mark.parametrize("transport", ["tls", "websocket"])
async def test_two_talk_and_come_back(secure: tuple[TidingsUp, Path], transport: Transport) -> None:
    server, certificate = secure
    tls = ssl.create_default_context(cafile=certificate) if transport == "tls" else None
    alice, bob = await new_profile(server, "Alice"), await new_profile(server, "Bob")
    conv = ids.direct_conversation(alice.user, bob.user)
    long = "x" * 60_000  # more than a TLS record, a WebSocket frame or a read takes at once
    async with listening(alice, transport=transport, tls=tls) as at_alice:
        async with listening(bob, transport=transport, tls=tls) as at_bob:
            message_id = at_alice.client.post(conv, long, to=bob.user)
            await at_bob.until(lambda at: at.bodies(conv) == [long])
            await at_alice.until(lambda at: State.DELIVERED in at.states(message_id))
            positions = at_bob.client.session.positions()
        for number in range(20):
            await at_alice.client.send_to(bob.user, f"{number}")
        async with listening(bob, transport=transport, tls=tls, positions=positions) as at_bob:
            await at_bob.until(lambda at: at.bodies(conv) == [f"{number}" for number in range(20)])


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(secure: tuple[TidingsUp, Path]) -> None:
    alice = await new_profile(secure[0], "Alice")
    async with Client(alice, transport="tls") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await client.online()


async def test_a_way_that_is_not_offered_is_refused_at_once(server: TidingsUp) -> None:
    alice = await new_profile(server, "Alice")
    with pytest.raises(Refusal, match="offers no 'tls'"):
        Client(alice, transport="tls")
