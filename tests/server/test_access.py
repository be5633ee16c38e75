"""Access lists: what the clients are told when they may not, by the stream's own list and by the default ones."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, NewEvent, NewEvents, StreamState
from kurrentdbclient.exceptions import AccessDeniedError, NotFoundError

import headwater as hw
from headwater.server.accounts import User
from headwater.server.kurrentdb import access as module
from headwater.server.kurrentdb.access import READ, Access
from headwater.testing.serving import ServerProcess
from tests.server.conftest import NODE_FILES, events

ANY = StreamState.ANY
CLOSED: dict[str, object] = {right: [] for right in ("r", "w", "d", "mr", "mw")}

Connect = Callable[[str], KurrentDBClient]


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[tuple[ServerProcess, Path]]:
    """A server with users: one of ``$admins``, one of ``$ops``, one of ``clerks``, and one of no group."""
    users = tmp_path_factory.mktemp("users") / "users"
    users.touch(mode=0o600)
    users.write_text("admin:x:$admins\nolga:x:$ops\nclara:x:clerks\njoe:x\n")
    pem, key = certificate
    with ServerProcess("memory:", "--tls-cert", str(pem), "--tls-key", str(key), "--users", str(users)) as server:
        yield server, pem


def url(guarded: tuple[ServerProcess, Path], name: str) -> str:
    server, pem = guarded
    return f"kurrentdb://{name}:x@127.0.0.1:{server.port}?tls=true&tlsCaFile={pem}"


@pytest.fixture
def connect(guarded: tuple[ServerProcess, Path]) -> Iterator[Connect]:
    """A client for a user, by his name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(KurrentDBClient(url(guarded, name)))


@pytest.fixture
def admin(connect: Connect) -> KurrentDBClient:
    return connect("admin")


@pytest.fixture
def joe(connect: Connect) -> KurrentDBClient:
    return connect("joe")


def close(admin: KurrentDBClient, stream: str, **acl: object) -> None:
    """Give a stream an event and an access list, by the names of its rights without the dollar."""
    admin.append_to_stream(stream, current_version=ANY, events=events("A"))
    rights = {f"${right}": roles for right, roles in acl.items()}
    admin.set_stream_metadata(stream, metadata={"$acl": rights}, current_version=ANY)


Step = Callable[[KurrentDBClient, str], object]

STEPS: dict[str, Step] = {
    "r": lambda client, stream: client.get_stream(stream),
    "r subscription": lambda client, stream: next(client.subscribe_to_stream(stream)),
    "w": lambda client, stream: client.append_to_stream(stream, current_version=ANY, events=events("B")),
    "w one": lambda client, stream: client.append_to_stream(stream, current_version=ANY, events=events("B")[0]),
    "w several": lambda client, stream: client.multi_append_to_stream(
        [NewEvents(stream, current_version=ANY, events=[NewEvent(type="B", data=b"{}", metadata=b"{}")])]
    ),
    "d": lambda client, stream: client.delete_stream(stream, current_version=ANY),
    "d for ever": lambda client, stream: client.tombstone_stream(stream, current_version=ANY),
    "mr": lambda client, stream: client.get_stream_metadata(stream),
    "mw": lambda client, stream: client.set_stream_metadata(stream, metadata={"a": 1}, current_version=ANY),
}


@pytest.mark.parametrize("step", STEPS)
class TestAList:
    def test_keeps_from_what_it_names_others_for(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str, step: str
    ) -> None:
        close(admin, stream, **{step.split()[0]: ["clerks", "$ops"]})
        with pytest.raises(AccessDeniedError):
            STEPS[step](joe, stream)

    @pytest.mark.parametrize("roles", ["joe", ["clerks", "joe"], "$all", None])
    def test_lets_through_whom_it_names(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str, step: str, roles: object
    ) -> None:
        close(admin, stream, **{**CLOSED, step.split()[0]: roles})
        STEPS[step](joe, stream)

    def test_lets_a_group_through(self, connect: Connect, admin: KurrentDBClient, stream: str, step: str) -> None:
        close(admin, stream, **{step.split()[0]: "clerks"})
        STEPS[step](connect("clara"), stream)

    def test_never_keeps_admins(self, admin: KurrentDBClient, stream: str, step: str) -> None:
        close(admin, stream, **{step.split()[0]: []})
        STEPS[step](admin, stream)


class TestSystemStreams:
    @pytest.mark.parametrize("step", STEPS)
    def test_are_for_admins(self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str, step: str) -> None:
        admin.append_to_stream(f"${stream}", current_version=ANY, events=events("A"))
        with pytest.raises(AccessDeniedError):
            STEPS[step](joe, f"${stream}")

    def test_all_is_for_admins_until_its_list_says_more(self, admin: KurrentDBClient, joe: KurrentDBClient) -> None:
        admin.append_to_stream("order-1", current_version=ANY, events=events("A"))
        for attempt in (lambda: next(joe.read_all()), lambda: next(joe.subscribe_to_all())):
            with pytest.raises(AccessDeniedError):
                attempt()
        assert next(admin.read_all())
        admin.set_stream_metadata("$all", metadata={"$acl": {"$r": "joe"}}, current_version=ANY)
        assert next(joe.read_all())
        admin.set_stream_metadata("$all", metadata={}, current_version=ANY)
        with pytest.raises(AccessDeniedError):
            next(joe.read_all())

    def test_the_default_lists(self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str) -> None:
        admin.append_to_stream(stream, current_version=ANY, events=events("A"))

        def set_default(settings: dict[str, object]) -> None:
            event = NewEvent(type="update-default-acl", data=json.dumps(settings).encode())
            admin.append_to_stream("$settings", current_version=ANY, events=event)

        set_default({"$userStreamAcl": {"$w": "clerks"}, "$systemStreamAcl": {"$r": "joe"}})
        try:
            with pytest.raises(AccessDeniedError):
                STEPS["w"](joe, stream)
            STEPS["r"](joe, stream)
            assert next(joe.read_all())
            close(admin, stream, w="joe")  # its own list comes before
            STEPS["w"](joe, stream)
        finally:
            set_default({})
        STEPS["w"](joe, f"{stream}b")


class TestWaysRound:
    def test_a_link_is_not_followed_where_its_reader_may_not(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str
    ) -> None:
        close(admin, stream, r=[])
        link = NewEvent(type="$>", data=f"0@{stream}".encode(), content_type="application/octet-stream")
        joe.append_to_stream(f"{stream}-links", current_version=ANY, events=link)
        (seen,) = admin.get_stream(f"{stream}-links", resolve_links=True)
        assert (seen.stream_name, seen.type) == (stream, "A")
        assert all(each.stream_name != stream for each in joe.read_stream(f"{stream}-links", resolve_links=True))

    def test_the_list_of_a_stream_by_its_metadata_stream(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str
    ) -> None:
        close(admin, stream, mw=[], mr=[])
        own = NewEvent(type="$metadata", data=b'{"$acl":{}}')
        for attempt in (
            lambda: joe.append_to_stream(f"$${stream}", current_version=ANY, events=own),
            lambda: joe.append_to_stream(f"$$$${stream}", current_version=ANY, events=own),
            lambda: joe.delete_stream(f"$${stream}", current_version=ANY),
            lambda: joe.get_stream(f"$${stream}"),
        ):
            with pytest.raises(AccessDeniedError):
                attempt()

    def test_a_list_that_makes_no_sense_names_nobody(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str
    ) -> None:
        close(admin, stream, r={"joe": True})
        with pytest.raises(AccessDeniedError):
            joe.get_stream(stream)

    def test_several_streams_all_or_none(self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str) -> None:
        close(admin, stream, w=[])
        record = NewEvent(type="B", data=b"{}", metadata=b"{}")
        with pytest.raises(AccessDeniedError):
            joe.multi_append_to_stream(
                [
                    NewEvents(f"{stream}-open", current_version=ANY, events=[record]),
                    NewEvents(stream, current_version=ANY, events=[record]),
                ]
            )
        with pytest.raises(NotFoundError):
            admin.get_stream(f"{stream}-open")


class TestGroups:
    def test_operators_make_them_and_readers_read_them(
        self, connect: Connect, admin: KurrentDBClient, joe: KurrentDBClient, stream: str
    ) -> None:
        close(admin, stream, r="clerks")
        group, operator = uuid.uuid4().hex, connect("olga")
        with pytest.raises(AccessDeniedError):
            joe.create_subscription_to_stream(group, stream)
        operator.create_subscription_to_stream(group, stream)
        for attempt in (
            lambda: next(joe.read_subscription_to_stream(group, stream)),
            lambda: next(operator.read_subscription_to_stream(group, stream)),
            lambda: joe.update_subscription_to_stream(group, stream),
            lambda: joe.replay_parked_events(group, stream),
            lambda: joe.delete_subscription(group, stream),
        ):
            with pytest.raises(AccessDeniedError):
                attempt()
        with connect("clara").read_subscription_to_stream(group, stream) as consumer:
            consumer.ack(next(consumer))
        operator.delete_subscription(group, stream)

    def test_a_link_that_its_consumer_may_not_follow_is_parked(
        self, admin: KurrentDBClient, joe: KurrentDBClient, stream: str
    ) -> None:
        close(admin, stream, r=[])
        links, group = f"{stream}-links", uuid.uuid4().hex
        link = NewEvent(type="$>", data=f"0@{stream}".encode(), content_type="application/octet-stream")
        joe.append_to_stream(links, current_version=ANY, events=[link, *events("A")])
        admin.create_subscription_to_stream(group, links, resolve_links=True)
        with joe.read_subscription_to_stream(group, links) as consumer:
            seen = next(consumer)
            assert (seen.stream_name, seen.type) == (links, "A")
            consumer.ack(seen)
        assert admin.get_subscription_info(group, links).parked_message_count == 1


async def test_the_client_for_asyncio(guarded: tuple[ServerProcess, Path], admin: KurrentDBClient, stream: str) -> None:
    close(admin, stream, w=[])
    async with AsyncKurrentDBClient(url(guarded, "joe")) as joe:
        with pytest.raises(AccessDeniedError):
            await joe.append_to_stream(stream, current_version=ANY, events=events("B"))
        await joe.append_to_stream(f"{stream}-open", current_version=ANY, events=events("B"))


def test_the_node_client(guarded: tuple[ServerProcess, Path], admin: KurrentDBClient, node: Path) -> None:
    close(admin, "secret-1", **CLOSED)
    shutil.copy(NODE_FILES / "denied.js", node)
    done = subprocess.run(
        ["node", "denied.js", url(guarded, "joe")], cwd=node, capture_output=True, text=True, timeout=60
    )
    steps = ("append", "read", "delete", "metadata", "everything")
    assert done.stdout.splitlines() == [f"{step}: denied" for step in steps], done.stderr


async def test_a_list_counts_at_once_where_it_is_written_and_soon_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.3)
    joe = User("joe", frozenset())
    async with hw.connect("memory:") as store:
        here, elsewhere = Access(store), Access(store)
        assert await here.allows(joe, "order-1", READ)
        assert await elsewhere.allows(joe, "order-1", READ)
        await store.append("$$order-1", hw.NewEvent("$metadata", {"$acl": {"$r": []}}))
        here.changed("$$order-1")
        assert not await here.allows(joe, "order-1", READ)
        await asyncio.sleep(0.35)
        assert not await elsewhere.allows(joe, "order-1", READ)


def test_without_users_a_list_keeps_nobody(client: KurrentDBClient, stream: str) -> None:
    close(client, stream, **CLOSED)
    for step in ("r", "w", "mr", "mw", "d"):
        STEPS[step](client, stream)
    assert next(client.read_all())
