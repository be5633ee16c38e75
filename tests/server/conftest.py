"""A server in a process of its own, over a file, and the clients that nobody here wrote."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, NewEvent

from headwater.testing.serving import ServerProcess

NODE_FILES = Path(__file__).parent / "node_files"
HOME = Path(__file__).parents[2] / ".cache" / "node"

_numbers = itertools.count()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here that don't end it: each uses streams of its own."""
    store = tmp_path_factory.mktemp("server") / "store.db"
    with ServerProcess(f"sqlite:///{store}") as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of the test's own, over a file of its own, and ends them."""
    started: list[ServerProcess] = []

    def start(*options: str, store: str = f"sqlite:///{tmp_path}/store.db", port: int = 0) -> ServerProcess:
        running = ServerProcess(store, *options, port=port)
        running.start()
        started.append(running)
        return running

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[KurrentDBClient]:
    """The Python client that blocks."""
    with KurrentDBClient(server.url) as connected:
        yield connected


@pytest.fixture
async def async_client(server: ServerProcess) -> AsyncIterator[AsyncKurrentDBClient]:
    """The Python client for asyncio."""
    async with AsyncKurrentDBClient(server.url) as connected:
        yield connected


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
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
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return files


@pytest.fixture(scope="package")
def node() -> Path:
    """A folder where the client is installed. Skips where it can't be."""
    npm, program = shutil.which("npm"), shutil.which("node")
    if npm is None or program is None:
        pytest.skip("no npm or no node on the PATH: they run the Node client")
    HOME.mkdir(parents=True, exist_ok=True)
    if not (HOME / "node_modules" / "@kurrent" / "kurrentdb-client").exists():
        shutil.copy(NODE_FILES / "package.json", HOME)
        done = subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=HOME, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm can't install the Node client here: {done.stderr[-300:]}")
    return HOME


@pytest.fixture
def stream() -> str:
    """A name that no other test uses, in a category of its own."""
    return f"order{next(_numbers)}x-1"


def events(*types: str, data: bytes = b'{"amount":20000}') -> list[NewEvent]:
    """New events of these types."""
    return [NewEvent(type=kind, data=data) for kind in types]
