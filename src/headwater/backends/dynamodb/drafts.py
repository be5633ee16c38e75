"""The transaction of an append: which items it writes, and what must be so. Pure, so that it is tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from headwater.backends.dynamodb.bodies import Batch, Piece
from headwater.backends.dynamodb.heads import UNWRITTEN, Head
from headwater.backends.dynamodb.keys import (
    GLOBAL,
    commit_key,
    head_key,
    id_key,
    listed_key,
    outbox,
    page_key,
    shard_of,
    status_key,
)
from headwater.backends.dynamodb.requests import ACTIONS_MAX, NEW, Requests
from headwater.backends.dynamodb.rows import Row, encoded_mates, encoded_rows
from headwater.errors import TooLarge

__all__ = ["STREAMS_MAX", "Draft", "Label", "Staging", "drafted", "marked", "positioned", "staging_of"]

STREAMS_MAX = 32
"""Writes in one append: each takes up to three actions of the hundred."""
INLINE_MAX = 300_000
"""Bytes of events in a commit's own item."""
TRANSACTION_MAX = 3_000_000
"""Bytes of events in one transaction, which may hold 4 MB with all else."""
SMALL = 10_000
"""Bytes that stay in the commit's own item also where the append as a whole is staged."""

Kind = Literal["head", "listed", "commit", "id", "status", "global", "page", "marker"]


class Label(msgspec.Struct, frozen=True):
    """What an action of a draft is for."""

    kind: Kind
    stream: str | None = None
    """Of a head."""


class Draft(msgspec.Struct, frozen=True):
    """A transaction, with a label for each action."""

    labels: list[Label]
    actions: list[dict[str, Any]]
    firsts: list[int]
    """The version of the first event of each write; 1 where there is no stream."""
    rows: list[Row]

    def put(self, label: Label, kind: str, request: dict[str, Any]) -> None:
        """One more action."""
        self.labels.append(label)
        self.actions.append({kind: request})


class Staging(msgspec.Struct, frozen=True):
    """What of an append is written before its transaction, because it would not fit."""

    pieces: frozenset[int] = frozenset()
    """The writes whose events are staged."""
    ids: bool = False
    """Whether the ids are claimed beforehand."""

    @property
    def any(self) -> bool:
        """Whether there is anything to stage."""
        return bool(self.pieces) or self.ids


def staging_of(batch: Batch) -> Staging:
    """What must be staged. Raises ``TooLarge`` where the append has too many streams for one transaction."""
    if len(batch.pieces) > STREAMS_MAX:
        raise TooLarge(
            "the append's list of streams",
            len(batch.pieces),
            "streams of one DynamoDB transaction",
            STREAMS_MAX,
            "Append to fewer streams at a time.",
        )
    most = INLINE_MAX if sum(piece.stored for piece in batch.pieces) <= TRANSACTION_MAX else SMALL
    pieces = frozenset(n for n, piece in enumerate(batch.pieces) if len(piece.parts) > 1 or piece.stored > most)
    actions = 3 * len(batch.pieces) + len(batch.ids) + 3
    return Staging(pieces, actions > ACTIONS_MAX)


def drafted(
    requests: Requests,
    batch: Batch,
    staging: Staging,
    heads: Mapping[str, Head],
    *,
    recorded_us: int,
    position: int | None,
    shards: int,
) -> Draft:
    """The actions that every append has. ``position``: of the last event before it; None where it gets one later."""
    draft = Draft([], [], [], [])
    mates = _mates(batch, heads)
    for number, piece in enumerate(batch.pieces):
        stream = piece.write.stream
        head = UNWRITTEN if stream is None else heads[stream]
        first = head.version + 1
        if stream is not None:
            _put_head(draft, requests, stream, head, piece.count, recorded_us, position is not None, shards)
        staged = number in staging.pieces
        commit = _commit(batch, number, piece, first, recorded_us, position, staged=staged)
        draft.put(Label("commit"), "Put", requests.put(commit | {"m": mates}, NEW))
        if not staging.ids:
            for ordinal, record in enumerate(piece.write.records):
                p, k = id_key(record.id)
                place = None if position is None else position + 1 + ordinal
                item = {"p": p, "k": k, "q": piece.partition, "f": first, "i": ordinal, "g": place}
                draft.put(Label("id"), "Put", requests.put(item, NEW))
        draft.firsts.append(first)
        draft.rows.append(piece.row(first))
        position = None if position is None else position + piece.count
    if staging.any:
        p, k = status_key(batch.name)
        status = [
            (piece.partition, first, piece.count) for piece, first in zip(batch.pieces, draft.firsts, strict=True)
        ]
        item = {"p": p, "k": k, "w": msgspec.msgpack.encode(status)}
        draft.put(Label("status"), "Put", requests.put(item, NEW))
    return draft


def _mates(batch: Batch, heads: Mapping[str, Head]) -> bytes | None:
    """The commits of the append, where there are several: each tells of all, should a restore lose one of them."""
    if len(batch.pieces) == 1:
        return None
    firsts = [heads[piece.write.stream].version + 1 if piece.write.stream is not None else 1 for piece in batch.pieces]
    return encoded_mates([(piece.partition, first) for piece, first in zip(batch.pieces, firsts, strict=True)])


def _put_head(
    draft: Draft,
    requests: Requests,
    stream: str,
    head: Head,
    count: int,
    recorded_us: int,
    sequenced: bool,
    shards: int,
) -> None:
    version = head.version + count
    label = Label("head", stream)
    if not head.exists:
        made = Head(version, version if sequenced else 0, created_us=recorded_us, last_us=recorded_us)
        draft.put(label, "Put", requests.put(made.item(stream), NEW))
        p, k = listed_key(stream, shards)
        draft.put(Label("listed"), "Put", requests.put({"p": p, "k": k}))
        return
    changes = {"v": version, "st": "open", "l": recorded_us} | ({"q": version} if sequenced else {})
    draft.put(label, "Update", requests.update(head_key(stream), changes, head.where))


def _commit(
    batch: Batch, number: int, piece: Piece, first: int, recorded_us: int, position: int | None, *, staged: bool
) -> dict[str, Any]:
    p, k = commit_key(piece.partition, first)
    item = {"p": p, "k": k, "n": piece.count, "t": recorded_us, "g": None if position is None else position + 1}
    if not staged:
        return item | {"b": piece.parts[0].body}
    parts = [(part.count, part.size, part.chunks) for part in piece.parts]
    return item | {"a": batch.name, "w": number, "s": msgspec.msgpack.encode(parts)}


def positioned(requests: Requests, draft: Draft, position: int) -> None:
    """Let the append take the next positions by itself: its rows become a page of the log."""
    count = sum(row.count for row in draft.rows)
    draft.put(Label("global"), "Update", requests.update(GLOBAL, {"v": position + count}, {"v": position}))
    draft.put(Label("page"), "Put", requests.put(_page(position, draft.rows), NEW))


def marked(requests: Requests, draft: Draft, batch: Batch, recorded_us: int, shards: int) -> None:
    """Put the append into the outbox: the sequencer will give it positions."""
    item = {"p": outbox(shard_of(batch.name, shards)), "k": batch.name, "t": recorded_us, "r": encoded_rows(draft.rows)}
    draft.put(Label("marker"), "Put", requests.put(item))


def _page(position: int, rows: Sequence[Row]) -> dict[str, Any]:
    p, k = page_key(position + 1)
    return {"p": p, "k": k, "n": sum(row.count for row in rows), "r": encoded_rows(rows)}
