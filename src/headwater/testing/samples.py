"""Golden samples: one stored event for each version of each type, kept in files, which today's code must still read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from headwater.codecs import encode_event
from headwater.events import Event, is_json, uuid7
from headwater.limits import Limits
from headwater.typed import Codec, UnreadableEvent
from headwater.typed.codec import VERSION_KEY, stored_version

__all__ = ["check_samples", "keep_samples"]


class _Sample(msgspec.Struct):
    type: str
    version: int
    data: Any
    reads_as: str
    """What the event is when it is read, as Python shows it."""


def keep_samples(codec: Codec, bodies: Iterable[object], folder: Path) -> list[Path]:
    """Write a sample of each of these objects whose type and version has none yet; the new files.

    Do so once for each new version, and commit the files. A sample that is there is never changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for body in bodies:
        event = _as_stored(codec, body)
        file = folder / f"{event.type}.{stored_version(event)}.json"
        if not file.exists():
            sample = _Sample(event.type, stored_version(event), event.data, repr(codec.decode(event)))
            file.write_bytes(msgspec.json.format(msgspec.json.encode(sample), indent=2) + b"\n")
            made.append(file)
    return made


def check_samples(codec: Codec, folder: Path, *, same: bool = False) -> None:
    """Read every sample with today's code. ``AssertionError`` where one can't be read, or a type has none.

    Arguments:
        same: also, that each reads as it did when the sample was made (which a new version may change on purpose).
    """
    found: set[tuple[str, int]] = set()
    problems: list[str] = []
    for file in sorted(folder.glob("*.json")):
        sample = msgspec.json.decode(file.read_bytes(), type=_Sample)
        found.add((sample.type, sample.version))
        try:
            bodies = codec.bodies(_event(sample.type, sample.version, sample.data))
        except UnreadableEvent as error:
            problems.append(f"{file.name}: {error.reason}")
            continue
        if same and repr(bodies[0] if len(bodies) == 1 else bodies) != sample.reads_as:
            problems.append(f"{file.name}: it reads as {bodies}, and was {sample.reads_as}")
    missing = [(name, version) for name, version in codec.versions.items() if (name, version) not in found]
    problems += [f"{name} version {version} has no sample: make one with keep_samples" for name, version in missing]
    if problems:
        raise AssertionError("\n".join(problems))


def _as_stored(codec: Codec, body: object) -> Event:
    record = encode_event(codec.encode(body), Limits())
    assert is_json(record.content_type)
    return _event(record.type, 0, msgspec.json.decode(record.data), record.metadata)


def _event(type: str, version: int, data: Any, metadata: bytes = b"") -> Event:
    metadata = metadata or (msgspec.json.encode({VERSION_KEY: version}) if version > 1 else b"")
    raw = msgspec.json.encode(data)
    return Event(1, None, 0, uuid7().bytes, type, raw, metadata, (), "application/json", 0, None)
