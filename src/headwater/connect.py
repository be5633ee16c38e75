"""From a URL to an open store. Backends are found by name only, so a driver loads when its backend is opened."""

from __future__ import annotations

import importlib
import re
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from importlib.metadata import entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headwater.backend import Backend
from headwater.errors import BadUrl, StoreUnavailable
from headwater.limits import Limits
from headwater.store import EventStore

if TYPE_CHECKING:
    from headwater.personal import KeyWrapper

__all__ = ["BACKENDS", "connect", "open_store"]

BACKENDS = {
    "memory": "headwater.backends.memory:open",
    "sqlite": "headwater.backends.sqlite:open",
    "postgresql": "headwater.backends.postgres:open",
    "postgres": "headwater.backends.postgres:open",
    "marten+postgresql": "headwater.backends.marten:open",
    "dynamodb": "headwater.backends.dynamodb:open",
    "kafka": "headwater.backends.kafka:open",
    "kurrentdb": "headwater.backends.kurrentdb:open",
    "kurrentdb+discover": "headwater.backends.kurrentdb:open",
}
"""URL scheme → where the function is that opens it: ``async (url, limits) -> Backend``.

Third parties add theirs as an entry point of the group ``headwater.backends``.
"""

_EXTRAS = {
    "headwater.backends.postgres": "postgres",
    "headwater.backends.marten": "postgres",
    "headwater.backends.dynamodb": "dynamodb",
    "headwater.backends.kafka": "kafka",
    "headwater.backends.kurrentdb": "kurrentdb",
    "headwater.personal": "personal",
    "headwater.server": "server",
}


class _Connecting:
    """What ``connect`` returns: ``async with`` it, or ``await`` it."""

    def __init__(self, url: str, limits: Limits | None, vault: str | None, wrapper: KeyWrapper | None) -> None:
        self._open = partial(open_store, url, limits, vault, wrapper)
        self._store: EventStore | None = None

    def __await__(self) -> Generator[Any, None, EventStore]:
        return self._open().__await__()

    async def __aenter__(self) -> EventStore:
        self._store = await self
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()


def connect(
    url: str, *, limits: Limits | None = None, vault: str | None = None, wrapper: KeyWrapper | None = None
) -> _Connecting:
    """Open the store at ``url``; made where it does not exist yet.

    ``memory:``, ``sqlite:///file.db`` (``sqlite:////absolute/file.db``), ``postgresql://user@host/database?schema=name``,
    ``marten+postgresql://user@host/database?schema=name``, ``dynamodb://table?region=name``,
    ``kafka://host:9092/name?index=file.db``, ``kurrentdb://host:2113?tls=false&index=file.db``.

    Arguments:
        limits: the bounds on what one call may carry.
        vault: the URL of another store, which keeps a key for each person: what events mark as personal data is sealed
            under it (needs the extra ``personal``). Never the same file or schema as the events.
        wrapper: wraps those keys, so that the vault alone is worth nothing: a ``MasterKey``, or your key management
            service.

    Use ``async with connect(url) as store:``, or ``store = await connect(url)`` and ``await store.close()``.
    Raises ``BadUrl``, ``StoreUnavailable`` and ``CorruptStore``.
    """
    return _Connecting(url, limits, vault, wrapper)


async def open_store(
    url: str, limits: Limits | None = None, vault: str | None = None, wrapper: KeyWrapper | None = None
) -> EventStore:
    """The open store at ``url``: ``connect`` without its ``async with``."""
    opener = _opener(url)
    limits = limits or Limits()
    if vault is None:
        return EventStore(await opener(url, limits), limits)
    if vault == url and not url.startswith("memory:"):
        raise BadUrl(redacted(vault), "it is the store itself", "Keep the keys in a file or a schema of their own.")
    with_vault: Callable[..., Backend] = loaded("headwater.personal:with_vault")
    keys_opener = _opener(vault)
    backend = await opener(url, limits)
    try:
        keys = await keys_opener(vault, limits)
    except BaseException:
        await backend.close()
        raise
    return EventStore(with_vault(backend, keys, limits, wrapper), limits)


def _opener(url: str) -> Callable[[str, Limits], Awaitable[Backend]]:
    if not isinstance(url, str) or not (scheme := re.match(r"([a-z][a-z0-9+.-]*):", url)):
        raise BadUrl(str(url), "it does not start with a scheme", f"Start it with one of: {_schemes()}.")
    name = scheme[1]
    if name in BACKENDS:
        opener: Callable[[str, Limits], Awaitable[Backend]] = loaded(BACKENDS[name])
        return opener
    for entry in entry_points(group="headwater.backends", name=name):
        found: Callable[[str, Limits], Awaitable[Backend]] = entry.load()
        return found
    raise BadUrl(redacted(url), f"no backend answers to {name!r}", f"Start it with one of: {_schemes()}.")


def loaded(target: str) -> Any:
    """What a backend's module has under a name (``module:name``). ``StoreUnavailable`` where its driver is missing."""
    module, _, function = target.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as missing:
        if module not in _EXTRAS or (missing.name or "").startswith("headwater"):
            raise
        raise StoreUnavailable(
            f"the package {missing.name!r} is not installed",
            f"Install the extra: pip install 'headwater[{_EXTRAS[module]}]'.",
            transient=False,
        ) from None


def _schemes() -> str:
    third_parties = {entry.name for entry in entry_points(group="headwater.backends")}
    return ", ".join(f"{name}:" for name in (*BACKENDS, *sorted(third_parties)))


def redacted(url: str) -> str:
    """The URL without its password, so that it may be shown. Takes too much away rather than too little."""
    address, mark, query = url.partition("?")
    if "@" not in address and "@" in query:  # a password that holds a question mark
        address, mark, query = url, "", ""
    shown = re.sub(r"(//[^/:@]*):.*@", r"\1:***@", address)
    return shown + mark + re.sub(r"(?i)((?:password|passwd|secret|token)=)[^&]*", r"\1***", query)
