"""Event logs in XES (IEEE 1849-2016 and -2023, and the 1.0 and 2.0 drafts before them), one event at a time.

The element tree never holds more than what stands inside one event, so a log may be larger than memory. Document
types and entities, which XES does not use, are refused: they are how XML files attack their readers.

An attribute becomes the value of its key: a text, number or truth value; a date stays the text that it was. A list
becomes an array of one-key objects, since its keys may repeat; a container becomes an object. An attribute that has
attributes of its own becomes ``{"value": …, "attributes": {…}}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from headwater.errors import NotSupported
from headwater.lifecycle.files import EventFile, InvalidFile
from headwater.lifecycle.mapping import Logged, plain_text

__all__ = ["COLUMNS", "logged_events"]

COLUMNS = ("concept:name", "time:timestamp", "org:resource")
"""Attributes that the standard's extensions name."""

DEPTH_MAX = 100
"""Attributes inside attributes; real logs have two or three levels."""

ELEMENT_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one element, for which the parser waits before it says anything."""

CASE_EVENTS_MAX = 5_000
"""Events of one case held while its attributes may still follow; a longer case goes on in parts."""

_LOG, _TRACE, _EVENT, _GLOBAL = "log", "trace", "event", "global"


def logged_events(file: EventFile) -> Iterator[Logged]:
    """The events of the log in its order, each with its case; a case's own attributes go with its first event."""
    iterparse, forbidden = _parser()
    fed = _Fed(file)
    log = _Log(file.name)
    try:
        for action, element in iterparse(fed, events=("start", "end"), forbid_dtd=True):
            fed.since = 0
            if action == "start":
                log.start(element)
            elif ended := log.end(element):
                yield from ended
    except ParseError as error:
        line, column = error.position
        raise InvalidFile(
            file.name,
            f"line {line}",
            f"it is not well-formed XML ({str(error).partition(':')[0]}, column {column})",
            "Is the file complete? Export the log again.",
        ) from None
    except forbidden as error:
        raise InvalidFile(
            file.name,
            None,
            f"it holds a document type or an entity ({type(error).__name__}), which XES does not use and attacks do",
            "Remove the <!DOCTYPE …> from the file if you trust it.",
        ) from None


def _parser() -> tuple[Callable[..., Iterator[tuple[str, Element]]], type[Exception]]:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import iterparse
    except ModuleNotFoundError:
        raise NotSupported(
            "this installation", "XES files: the package 'defusedxml' is missing", "pip install 'headwater[cli]'"
        ) from None
    return iterparse, DefusedXmlException


class _Fed:
    """The file as the parser reads it; stops one that would fill the memory with a single element."""

    def __init__(self, file: EventFile) -> None:
        self._name = file.name
        self._content = file.content
        self.since = 0
        """Bytes given to the parser since it last spoke."""

    def read(self, size: int = -1) -> bytes:
        data = self._content.read1(65536)  # what a pipe has by now, rather than wait for more
        self.since += len(data)
        if self.since > ELEMENT_BYTES_MAX:
            raise InvalidFile(
                self._name, None, f"one element is over {ELEMENT_BYTES_MAX:,} bytes", "This is no event log."
            )
        return data


class _Log:
    """What is known while the parser walks through a log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[Element] = []
        self._defaults: dict[str, dict[str, Any]] = {_TRACE: {}, _EVENT: {}}
        self._cases = 0
        self._begin_case()

    def _begin_case(self) -> None:
        self._case: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []
        self._sent = 0

    def start(self, element: Element) -> None:
        """An element opens."""
        if not self._open and _kind(element) != _LOG:
            raise InvalidFile(
                self._name, None, f"it is XML, but its root is <{_kind(element)[:40]}>, not <log>", "Give an XES log."
            )
        self._open.append(element)
        if len(self._open) > DEPTH_MAX:
            raise InvalidFile(
                self._name, None, f"its attributes are nested more than {DEPTH_MAX} deep", "This is no event log."
            )

    def end(self, element: Element) -> list[Logged]:
        """An element is complete. Gives the events that are, then."""
        self._open.pop()
        depth = len(self._open)
        if depth == 1:
            logged = self._end_of_part(element)
        elif depth == 2 and _kind(self._open[1]) == _TRACE:
            logged = self._end_in_trace(element)
        else:
            return []
        self._open[-1].clear()
        return logged

    def _end_of_part(self, element: Element) -> list[Logged]:
        """A part of the log itself: a trace, the default values, or an attribute of the log."""
        if _kind(element) == _TRACE:
            logged = self._logged()
            self._cases += 1
            self._begin_case()
            return logged
        if _kind(element) == _GLOBAL:
            scope = element.get("scope", _EVENT)
            self._defaults.setdefault(scope, {}).update(self._attributes(element))
        return []

    def _end_in_trace(self, element: Element) -> list[Logged]:
        if _kind(element) != _EVENT:
            _put(self._case, *self._attribute(element))
            return []
        self._events.append(self._attributes(element))
        return self._logged() if len(self._events) >= CASE_EVENTS_MAX else []

    def _logged(self) -> list[Logged]:
        """The case's events so far, on their way."""
        case = self._defaults[_TRACE] | self._case
        case.pop("concept:name", None)
        name = plain_text(self._case.get("concept:name"))
        where = f"case {name!r}" if name else f"trace {self._cases + 1}"
        if self._events and not name:
            raise InvalidFile(
                self._name,
                where,
                "it has no concept:name",
                "Each trace needs a name before its events, to be a stream.",
            )
        logged = []
        for number, attributes in enumerate(self._events, self._sent + 1):
            event = self._defaults[_EVENT] | attributes if self._defaults[_EVENT] else attributes
            if "time:timestamp" not in attributes:
                event.pop("time:timestamp", None)  # a default moment would be a false fact
            if number == 1 and case:
                event["case" if "case" not in event else "case attributes"] = case
            logged.append(Logged(name, event, f"{where}, event {number}"))
        self._sent += len(self._events)
        self._events = []
        return logged

    def _attributes(self, parent: Element) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for child in parent:
            _put(attributes, *self._attribute(child))
        return attributes

    def _attribute(self, element: Element) -> tuple[str, Any]:
        kind = _kind(element)
        key = element.get("key", "")
        convert = _VALUES.get(kind)
        if convert is None:
            return (key or kind), self._nested(kind, element)
        text = element.get("value", "")
        try:
            value = convert(text)
        except ValueError:
            raise InvalidFile(
                self._name,
                f"trace {self._cases + 1}",
                f"the attribute {key!r} is {text[:60]!r}, which is no {kind}",
                "Correct it in the file.",
            ) from None
        return key, {"value": value, "attributes": self._attributes(element)} if len(element) else value

    def _nested(self, kind: str, element: Element) -> Any:
        if kind == "list":
            values = next((child for child in element if _kind(child) == "values"), element)
            return [dict([self._attribute(child)]) for child in values]
        return self._attributes(element)


def _put(attributes: dict[str, Any], key: str, value: Any) -> None:
    """Keys should be unique; where they are not, nothing is lost: the later ones get a number."""
    number, free = 2, key
    while free in attributes:
        free = f"{key} ({number})"
        number += 1
    attributes[free] = value


def _kind(element: Element) -> str:
    """The element's name without its namespace, which not every log gives."""
    return str(element.tag).rpartition("}")[2]


def _int(text: str) -> int | str:
    value = int(text)
    return value if -(2**63) <= value < 2**63 else text  # beyond what JSON readers hold exactly


def _float(text: str) -> float | str:
    value = float(text.replace("INF", "inf"))
    return value if math.isfinite(value) else text  # JSON has no NaN and no infinities


def _boolean(text: str) -> bool:
    if text.strip().lower() not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return text.strip().lower() in ("true", "1")


_VALUES: dict[str, Callable[[str], Any]] = {
    "string": str,
    "date": str,
    "int": _int,
    "float": _float,
    "boolean": _boolean,
    "id": str,
}
