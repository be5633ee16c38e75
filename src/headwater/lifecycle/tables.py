"""Events from tables: CSV (RFC 4180, with a header line) and JSON Lines, one event a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import msgspec

from headwater.lifecycle.files import EventFile, InvalidFile
from headwater.lifecycle.mapping import Logged

__all__ = ["csv_rows", "json_rows", "lines"]

LINE_BYTES_MAX = 64 * 1024 * 1024
"""Of one line; an event's data is far smaller."""

_DELIMITERS = ",;\t|"


def csv_rows(file: EventFile, delimiter: str | None) -> tuple[list[str], Iterator[Logged]]:
    """The columns of the table, and its rows; an empty cell is left out of its row."""
    text = _Lines(file)
    header = next(iter(text), "")
    found = delimiter or max(_DELIMITERS, key=header.count)
    columns = next(csv.reader([header], delimiter=found), [])
    repeated = {name for name in columns if columns.count(name) > 1}
    if repeated or len(columns) < 2:
        raise InvalidFile(
            file.name,
            "line 1",
            f"the column {min(repeated)!r} stands there twice" if repeated else f"it names one column: {columns}",
            "The first line must name the columns, each once; for another character between them, say --delimiter.",
        )
    return columns, _rows(file, text, columns, found)


class _Lines:
    """The file's text by line, for the CSV reader."""

    def __init__(self, file: EventFile) -> None:
        self._text = io.TextIOWrapper(file.content, encoding="utf-8-sig", newline="")

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(LINE_BYTES_MAX):
            yield line


def _rows(file: EventFile, text: _Lines, columns: list[str], delimiter: str) -> Iterator[Logged]:
    rows = csv.reader(iter(text), delimiter=delimiter, strict=True)
    try:
        for row in rows:
            place = f"line {rows.line_num + 1}"
            if not row:
                continue
            if len(row) != len(columns):
                raise InvalidFile(
                    file.name,
                    place,
                    f"it has {len(row)} values for {len(columns)} columns",
                    "Quote values that hold the delimiter or a line break.",
                )
            yield Logged(None, {name: value for name, value in zip(columns, row, strict=True) if value != ""}, place)
    except csv.Error as error:
        raise InvalidFile(
            file.name, f"line {rows.line_num + 1}", f"it is not well-formed CSV ({error})", "Correct its quotes."
        ) from None


def json_rows(file: EventFile) -> Iterator[Logged]:
    """The objects of the file, one a line."""
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for number, line in lines(file):
        try:
            yield Logged(None, decode(line), f"line {number}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidFile(
                file.name, f"line {number}", f"it is not a JSON object ({error})", "Each line holds one object."
            ) from None


def lines(file: EventFile) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers."""
    number = 0
    while line := file.content.readline(LINE_BYTES_MAX):
        number += 1
        if len(line) == LINE_BYTES_MAX:
            raise InvalidFile(file.name, f"line {number}", f"it is over {LINE_BYTES_MAX:,} bytes", "Split the event.")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.isspace():
            yield number, line
