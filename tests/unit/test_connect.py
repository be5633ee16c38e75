"""From a URL to a store: schemes, mistakes, third parties' backends, and passwords that stay secret."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import headwater as hw
from headwater.backends.memory import MemoryBackend
from headwater.connect import BACKENDS, open_store, redacted


async def test_async_with() -> None:
    async with hw.connect("memory:") as store:
        assert store.capabilities.backend == "memory"


async def test_await() -> None:
    store = await hw.connect("memory:", limits=hw.Limits(tags_max=2))
    assert store.limits.tags_max == 2
    await store.close()


async def test_memory_stores_share_nothing() -> None:
    one, other = await open_store("memory:"), await open_store("memory:")
    await one.append("loan-1", hw.NewEvent("A_SUBMITTED", {}))
    assert await other.head() == 0
    assert one.identity != other.identity


@pytest.mark.parametrize("url", ["", "loans.db", "/var/lib/loans.db", "://", "1:", None, 7])
async def test_no_scheme(url: Any) -> None:
    with pytest.raises(hw.BadUrl, match="sqlite:"):
        await hw.connect(url)


async def test_unknown_scheme() -> None:
    with pytest.raises(hw.BadUrl) as refused:
        await hw.connect("mysql://bank:secret@host/loans")
    assert "no backend answers to 'mysql'" in str(refused.value)
    assert "secret" not in str(refused.value)
    for scheme in BACKENDS:
        assert f"{scheme}:" in str(refused.value)


async def test_third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend is found as an entry point of the group ``headwater.backends``."""
    entry = EntryPoint("vault", "headwater.backends.memory:open", "headwater.backends")

    def found(*, group: str, name: str = "vault") -> list[EntryPoint]:
        assert group == "headwater.backends"
        return [entry] if name == "vault" else []

    monkeypatch.setattr(sys.modules["headwater.connect"], "entry_points", found)
    store = await hw.connect("vault://loans")
    assert isinstance(store._backend, MemoryBackend)
    with pytest.raises(hw.BadUrl, match="vault:"):
        await hw.connect("safe://loans")


async def test_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not installed, the error names the extra to install."""
    for name in [name for name in sys.modules if name.startswith("headwater.backends.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(hw.StoreUnavailable, match=r"headwater\[postgres\]") as refused:
        await hw.connect("postgresql://host/loans")
    assert refused.value.transient is False


async def test_a_fault_in_a_backend_is_no_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "broken", "headwater.backends.broken:open")
    with pytest.raises(ModuleNotFoundError):
        await hw.connect("broken:")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bank:secret@host:5432/loans", "postgresql://bank:***@host:5432/loans"),
        ("postgresql://bank@host/loans?schema=a", "postgresql://bank@host/loans?schema=a"),
        (
            "postgresql://host/loans?user=a&password=secret&schema=b",
            "postgresql://host/loans?user=a&password=***&schema=b",
        ),
        ("postgresql://host/loans?PASSWORD=secret", "postgresql://host/loans?PASSWORD=***"),
        ("postgresql://:secret@host/loans", "postgresql://:***@host/loans"),
        ("vault://host?token=secret", "vault://host?token=***"),
        ("sqlite:///loans.db", "sqlite:///loans.db"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url", ["mysql://bank:se/cret@host/loans", "mysql://bank:se@cret@host/loans", "mysql://bank:s?cret@host/x"]
)
def test_redacted_hides_odd_passwords(url: str) -> None:
    """Passwords that should have been percent-encoded, and were not, are hidden all the same."""
    assert "cret" not in redacted(url)
