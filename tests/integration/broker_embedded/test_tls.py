"""MQTT over TLS, with a certificate made for the test and clients that check it."""

import asyncio
import datetime
import ipaddress
import ssl
import warnings

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Make a self-signed certificate for 127.0.0.1, in a file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def endpoints(make_broker, certificate):
    """Start a broker with a TLS port, from a context that would allow too much."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate)
    _, endpoints = await make_broker(tls=0, tls_context=context)
    return endpoints


async def test_a_stock_client_talks_over_tls(endpoints, certificate):
    context = ssl.create_default_context(cafile=certificate)
    options = {"identifier": "c", "username": "u", "password": "good", "tls_context": context}
    async with aiomqtt.Client(endpoints.host, endpoints.tls, **options) as client:
        await client.subscribe("a", qos=1)
        await client.publish("a", b"x" * 200_000, qos=1)
        assert len((await asyncio.wait_for(anext(client.messages), 5)).payload) == 200_000


async def test_old_versions_of_tls_are_refused(endpoints):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(endpoints.host, endpoints.tls, ssl=context)


async def test_mosquittos_tools_talk_over_tls(endpoints, certificate):
    subscribe = ["mosquitto_sub", "-t", "a", "-q", "1", "-C", "1", "-i", "sub", "-W", "10"]
    access = ["-h", endpoints.host, "-p", f"{endpoints.tls}", "--cafile", f"{certificate}", "-u", "u", "-P", "good"]
    try:
        listener = await asyncio.create_subprocess_exec(*subscribe, *access, stdout=asyncio.subprocess.PIPE)
    except FileNotFoundError:
        pytest.skip("needs Debian's mosquitto-clients")
    publish = ["mosquitto_pub", "-t", "a", "-q", "1", "-m", "hi", "-i", "pub", *access]
    while listener.returncode is None:
        sender = await asyncio.create_subprocess_exec(*publish)
        assert await sender.wait() == 0
        await asyncio.wait([asyncio.ensure_future(listener.wait())], timeout=0.1)
    assert await listener.stdout.read() == b"hi\n"
