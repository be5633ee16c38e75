"""The Django example: rows and events are stored together or not at all, and every process has its own store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import headwater as hw

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(postgres_url: str) -> Iterator[dict[str, str]]:
    """Where Django finds its tables and the store, in a schema each that is dropped afterwards."""
    mark = "&" if "?" in postgres_url else "?"
    rows, log = f"t_{uuid.uuid4().hex}", f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{rows}"')
        yield {
            "DJANGO_SETTINGS_MODULE": "examples.django_service.settings",
            "DATABASE_URL": f"{postgres_url}{mark}options=-csearch_path%3D{rows}",
            "HEADWATER_URL": f"{postgres_url}{mark}schema={log}",
        }
        connection.execute("SET client_min_messages = warning; SET lock_timeout = '20s'")
        connection.execute(f'DROP SCHEMA IF EXISTS "{rows}" CASCADE; DROP SCHEMA IF EXISTS "{log}" CASCADE')


@pytest.fixture(scope="module")
def site(environment: dict[str, str]) -> Iterator[Any]:
    """Django, set up with its tables. It sets the process's time zone, which is put back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", os.environ.get("TZ", ""))
        for name, value in environment.items():
            patch.setenv(name, value)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        yield django
        connections.close_all()
        from examples.django_service.store import store

        store().close()
    time.tzset()


@pytest.fixture
def client(site: Any) -> Iterator[Any]:
    from django.test import Client
    from examples.django_service.models import Contact

    yield Client(raise_request_exception=False)
    Contact.objects.all().delete()


@pytest.fixture
def loan() -> str:
    """A loan that no other test has."""
    return uuid.uuid4().hex


def request(client: Any, loan: str, **fields: Any) -> Any:
    asked = {"amount": 20_000, "phone": "030-123"} | fields
    return client.post(f"/loans/{loan}/request", asked, content_type="application/json", headers={"X-Request-ID": "r1"})


def events(loan: str) -> list[hw.Event]:
    from examples.django_service.store import store

    return list(store().read(f"loan-{loan}"))


def contacts(loan: str) -> int:
    from examples.django_service.models import Contact

    return int(Contact.objects.filter(loan=loan).count())


def test_row_and_event_are_stored_together(client: Any, loan: str) -> None:
    assert request(client, loan).status_code == 201
    assert client.get(f"/loans/{loan}").json() == {"phone": "030-123", "stage": "requested", "amount": 20_000}
    (event,) = events(loan)
    assert event.metadata == {"correlation_id": "r1"}


def test_nothing_is_seen_before_django_commits(client: Any, loan: str) -> None:
    from django.db import transaction
    from examples.django_service.models import Contact
    from examples.django_service.store import execute
    from examples.loans.rules import Request

    with transaction.atomic():
        Contact.objects.create(loan=loan, phone="030-123")
        done = execute(f"loan-{loan}", Request(20_000))
        assert done is not None
        assert (done.version, events(loan)) == (1, [])
    assert (len(events(loan)), contacts(loan)) == (1, 1)


def test_a_row_that_is_refused_takes_the_event_with_it(client: Any, loan: str) -> None:
    answer = request(client, loan, phone="a telephone number that is far too long")
    assert answer.status_code == 500
    assert (events(loan), contacts(loan)) == ([], 0)
    assert request(client, loan).status_code == 201  # nothing is left of the first try


def test_an_event_that_is_refused_takes_the_row_with_it(
    client: Any, loan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction
    from examples.django_service import store
    from examples.django_service.models import Contact
    from examples.loans.rules import Request

    loaded = store.load(f"loan-{loan}")
    monkeypatch.setattr(store, "load", lambda stream: loaded)
    store.store().append(f"loan-{loan}", hw.NewEvent("LoanRequested", {"amount": 5}))  # somebody else is faster

    def row_then_event() -> None:
        with transaction.atomic():
            Contact.objects.create(loan=loan, phone="030-123")
            store.execute(f"loan-{loan}", Request(20_000))

    with pytest.raises(hw.WrongExpectedVersion):
        row_then_event()
    assert (len(events(loan)), contacts(loan)) == (1, 0)


def test_an_event_that_comes_again_is_known(client: Any, loan: str) -> None:
    """Asked by Django's connection, whose types of values are Django's."""
    from django.db import connection, transaction
    from examples.django_service.store import store

    event = hw.NewEvent("LoanRequested", {"amount": 5})
    for again in (False, True):
        with transaction.atomic():
            done = store().bind(connection.connection).append(f"loan-{loan}", event)
        assert (done.version, done.duplicate) == (1, again)
    with transaction.atomic(), pytest.raises(hw.DuplicateEvent):
        store().bind(connection.connection).append(f"loan-{loan}-other", event)


def test_a_refusal_is_409(client: Any, loan: str) -> None:
    assert request(client, loan).status_code == 201
    answer = request(client, loan)
    assert (answer.status_code, answer.json()) == (409, {"detail": "this loan was requested before"})
    assert len(events(loan)) == 1
    assert client.get(f"/loans/{loan}0").status_code == 404


@pytest.mark.parametrize(
    ("error", "status"), [(hw.WrongExpectedVersion("loan-1", 1, 2), 409), (hw.StoreUnavailable("away", "Wait."), 503)]
)
def test_errors_of_the_store_have_a_status(
    client: Any, loan: str, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    from examples.django_service import views

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(views, "execute", fails)
    answer = request(client, loan)
    assert (answer.status_code, answer.json()) == (status, {"detail": str(error)})
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_command_that_leads_to_nothing_appends_nothing(client: Any, loan: str) -> None:
    from django.db import transaction
    from examples.django_service.store import execute
    from examples.loans.rules import WithdrawOffer

    request(client, loan)
    with transaction.atomic():
        assert execute(f"loan-{loan}", WithdrawOffer()) is None
    assert len(events(loan)) == 1


def test_a_process_that_was_forked_opens_its_own_store(site: Any, environment: dict[str, str]) -> None:
    program = """
import os, warnings
import django
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of a fork beside threads
django.setup()
from django.db import connections
from django.test import Client
from examples.django_service.store import store

def request(loan):
    answer = Client().post(f"/loans/{loan}/request", {"amount": 1, "phone": "1"}, content_type="application/json")
    return answer.status_code

assert request(f"parent-{os.getpid()}") == 201
connections.close_all()
parents = store()
pid = os.fork()
if not pid:
    code = request(f"child-{os.getpid()}")
    os._exit(0 if (code, store() is parents) == (201, False) else 3)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert request(f"later-{os.getpid()}") == 201  # the parent's store is as it was
assert store() is parents
parents.close()
raise SystemExit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
