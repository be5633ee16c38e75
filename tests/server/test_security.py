"""TLS, names and passwords, and what is refused before the server listens."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from kurrentdbclient import KurrentDBClient, StreamState
from kurrentdbclient.exceptions import KurrentDBClientError, NotFoundError, UnauthenticatedError

from headwater.errors import BadUrl, HeadwaterError
from headwater.server import Settings
from headwater.server.accounts import Accounts
from headwater.testing.serving import ServerProcess
from tests.server.conftest import events


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
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
    files = tmp_path / "server.pem", tmp_path / "server.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return files


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text("# who may\nadmin:change:it\njoe:secret\n")
    return file


def test_over_tls_with_a_password(
    start: Callable[..., ServerProcess], certificate: tuple[Path, Path], users: Path
) -> None:
    pem, key = certificate
    server = start("--tls-cert", str(pem), "--tls-key", str(key), "--users", str(users))
    assert server.url == f"kurrentdb://name:password@127.0.0.1:{server.port}?tls=true"

    def url(credentials: str) -> str:
        return f"kurrentdb://{credentials}127.0.0.1:{server.port}?tls=true&tlsCaFile={pem}"

    with KurrentDBClient(url("joe:secret@")) as client:
        client.append_to_stream("order-1", current_version=StreamState.ANY, events=events("A"))
        assert len(client.get_stream("order-1")) == 1
    with KurrentDBClient(url("joe:wrong@")) as client, pytest.raises(UnauthenticatedError):
        client.get_stream("order-1")
    users.write_text("joe:new\n")
    with KurrentDBClient(url("joe:new@")) as client, pytest.raises(NotFoundError):
        _eventually_known(client)


def _eventually_known(client: KurrentDBClient) -> None:
    import time

    for _ in range(40):
        try:
            client.get_stream("order-2")
        except UnauthenticatedError:
            time.sleep(0.1)


def test_without_a_password(start: Callable[..., ServerProcess], users: Path) -> None:
    server = start("--users", str(users), store="memory:")
    with KurrentDBClient(f"kurrentdb://127.0.0.1:{server.port}?tls=false") as client:
        for attempt in (
            lambda: client.get_stream("order-1"),
            lambda: client.append_to_stream("order-1", current_version=StreamState.ANY, events=events("A")),
            lambda: client.create_subscription_to_all("g"),
        ):
            with pytest.raises(KurrentDBClientError, match="no user of this server"):
                attempt()
        (member,) = client.read_gossip()  # discovery comes before
        assert (member.address, member.port, member.state) == ("127.0.0.1", server.port, "NODE_STATE_LEADER")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", "10.0.0.1"])
def test_insecure_is_for_this_machine_only(host: str) -> None:
    with pytest.raises(BadUrl, match="--insecure"):
        Settings(host=host).check()
    Settings(host=host, insecure=True).check()


def test_half_a_certificate(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(BadUrl, match="--tls-key"):
        Settings(certificate=certificate[0]).check()
    with pytest.raises(BadUrl, match="no such file"):
        Settings(certificate=certificate[0], key=certificate[1].with_name("nothing")).check()


def test_a_file_of_users_that_others_can_read(users: Path) -> None:
    users.chmod(0o644)
    with pytest.raises(BadUrl, match="chmod 600"):
        Accounts(users)


def test_a_port_that_is_taken(start: Callable[..., ServerProcess]) -> None:
    first = start(store="memory:")
    with pytest.raises(HeadwaterError, match="can't listen on"):
        start(store="memory:", port=first.port)


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic !!!", "Bearer am9lOnNlY3JldA==", "Basic /////w==", "Basic am9l"]
)
def test_headers_that_name_nobody(users: Path, header: str | None) -> None:
    assert Accounts(users).user_of(header) is None


def test_a_password_with_a_colon(users: Path) -> None:
    assert Accounts(users).user_of("Basic YWRtaW46Y2hhbmdlOml0") == "admin"
