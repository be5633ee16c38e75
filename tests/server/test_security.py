"""TLS, names and passwords, and what is refused before the server listens."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from kurrentdbclient import KurrentDBClient, StreamState
from kurrentdbclient.exceptions import KurrentDBClientError, NotFoundError, UnauthenticatedError

from headwater.errors import BadUrl, HeadwaterError
from headwater.server import Settings
from headwater.server.accounts import Accounts, User
from headwater.testing.serving import ServerProcess
from tests.server.conftest import events


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text("# who may\nadmin:change:it:$admins\njoe:secret\n\nann:pass:word: clerks, $ops \n")
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


@pytest.mark.parametrize(
    ("credentials", "user"),
    [
        ("admin:change:it", User("admin", frozenset({"$admins"}))),
        ("ann:pass:word", User("ann", frozenset({"clerks", "$ops"}))),
        ("joe:secret", User("joe", frozenset())),
        ("joe:secret:", None),
        ("admin:change:it:$admins", None),
    ],
)
def test_names_passwords_groups(users: Path, credentials: str, user: User | None) -> None:
    assert Accounts(users).user_of(f"Basic {base64.b64encode(credentials.encode()).decode()}") == user


@pytest.mark.parametrize(
    ("line", "problem"), [("joe", "not name:password"), ("joe::clerks", "not name:password"), ("$ops:x", "of a group")]
)
def test_lines_that_name_nobody(users: Path, line: str, problem: str) -> None:
    users.write_text(line + "\n")
    with pytest.raises(BadUrl, match=problem):
        Accounts(users)
