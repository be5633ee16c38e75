"""Files that events are imported from: opened, unpacked, recognised, and their faults in our words."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import msgspec

from headwater.errors import HeadwaterError

__all__ = ["FORMATS", "EventFile", "Format", "InvalidFile", "faults_in", "opened"]

Format = Literal["xes", "csv", "jsonl", "headwater"]
FORMATS: tuple[Format, ...] = ("xes", "csv", "jsonl", "headwater")
"""``xes`` is IEEE 1849; ``jsonl`` one JSON object a line, with a column map; ``headwater`` what ``export`` writes."""

_GZIP_MAGIC = b"\x1f\x8b"
_SNIFFED_BYTES = 65536
_OF_EXPORT = frozenset({"position", "stream", "version", "id", "type"})


class InvalidFile(HeadwaterError, ValueError):
    """A file of events can't be read as what it should be.

    Attributes: ``file``; ``place``, the line, or the case and event, where that is known; ``problem``; ``remedy``.
    """

    def __init__(self, file: str, place: str | None, problem: str, remedy: str) -> None:
        self.file = file
        self.place = place
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{file}{f', {place}' if place else ''}: {problem}. {remedy}")


class EventFile:
    """An open file of events: its unpacked bytes, and how much of the packed file has been read."""

    def __init__(self, name: str, raw: io.BufferedReader, size: int | None) -> None:
        self.name = name
        self.size = size
        """Bytes of the file as it lies on the disk; None where that is not known."""
        self._counted = _Counted(raw)
        content: io.BufferedReader[io.RawIOBase] = io.BufferedReader(self._counted, _SNIFFED_BYTES)
        if content.peek(2)[:2] == _GZIP_MAGIC:
            unpacked = cast(io.RawIOBase, gzip.GzipFile(fileobj=content))
            content = io.BufferedReader(unpacked, _SNIFFED_BYTES)
        self.content = content

    @property
    def bytes_read(self) -> int:
        """Bytes read so far of the file as it lies on the disk."""
        return self._counted.count

    def format(self) -> Format:
        """What this file is by its beginning and, for tables, its name."""
        start = self.content.peek(_SNIFFED_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            raise InvalidFile(self.name, None, "it is empty", "Give a file with events in it.")
        if start.startswith(b"<"):
            return "xes"
        if start.startswith(b"{"):
            return "headwater" if _is_export(start.partition(b"\n")[0]) else "jsonl"
        if b"\0" in start:
            raise InvalidFile(
                self.name,
                None,
                "it is neither XES nor CSV nor JSON Lines (it holds binary data)",
                "Give one of these as UTF-8 text, plain or packed with gzip.",
            )
        return "csv"


class _Counted(io.RawIOBase):
    """A raw file that counts what is read of it."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self._raw.read1(len(view))  # what a pipe has by now, rather than wait for more
        view[: len(data)] = data
        self.count += len(data)
        return len(data)


def _is_export(line: bytes) -> bool:
    try:
        first = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a bad line, or one longer than what was looked at
        return all(b'"%s":' % name.encode() in line[:1000] for name in _OF_EXPORT)
    return isinstance(first, dict) and first.keys() >= _OF_EXPORT


@contextlib.contextmanager
def opened(path: str) -> Iterator[EventFile]:
    """The file at ``path``, or standard input for ``-``. Raises ``InvalidFile`` where it can't be opened."""
    if path == "-":
        yield EventFile("standard input", cast(io.BufferedReader, sys.stdin.buffer), None)
        return
    try:
        raw = Path(path).open("rb")  # noqa: SIM115  # closed below, where no error of the caller is caught
    except FileNotFoundError:
        raise InvalidFile(path, None, "there is no such file", "Check the name.") from None
    except OSError as error:
        raise InvalidFile(
            path, None, f"it can't be opened ({error.strerror})", "Give a file that may be read."
        ) from None
    with raw:
        with faults_in(path):
            file = EventFile(path, raw, Path(path).stat().st_size if Path(path).is_file() else None)
        yield file


@contextlib.contextmanager
def faults_in(name: str) -> Iterator[None]:
    """Turn what reading a damaged file raises into ``InvalidFile``."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidFile(
            name, None, f"its gzip packing is damaged or cut short ({error})", "Fetch or make the file again."
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidFile(
            name, None, f"it is not UTF-8 text ({error.reason} at byte {error.start})", "Convert it to UTF-8."
        ) from None
    except OSError as error:
        raise InvalidFile(name, None, f"it can't be read ({error})", "Check the disk, and that it is a file.") from None
