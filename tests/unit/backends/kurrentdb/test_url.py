"""What a ``kurrentdb:`` URL says."""

from __future__ import annotations

from pathlib import Path

import pytest

import headwater as hw
from headwater.backends.kurrentdb.url import parse
from headwater.errors import BadUrl, StoreUnavailable


def test_ours_and_the_clients() -> None:
    place = parse(
        "kurrentdb://joe:s%20ecret@one:2113,two:2113?tls=true&index=/tmp/i.db&tlsCaFile=/etc/ca.pem&create=no"
    )
    assert place.connection == "kurrentdb://joe:s%20ecret@one:2113,two:2113?tls=true&tlsCaFile=/etc/ca.pem"
    assert (place.servers, place.index, place.create) == ("one:2113,two:2113", Path("/tmp/i.db"), False)
    assert "ecret" not in f"{place!r}{place.shown}"


def test_discovery() -> None:
    assert parse("kurrentdb+discover://cluster.example?tls=false").connection.startswith(
        "kurrentdb+discover://cluster."
    )


@pytest.mark.parametrize("url", ["kurrentdb://", "kurrentdb://host/name", "kurrentdb://host?create=perhaps"])
def test_what_can_not_be(url: str) -> None:
    with pytest.raises(BadUrl):
        parse(url)


async def test_what_the_client_refuses() -> None:
    with pytest.raises(BadUrl, match="the client can't use it"):
        await hw.connect("kurrentdb://host:2113?tls=perhaps")


async def test_nobody_there() -> None:
    with pytest.raises(StoreUnavailable, match=r"KurrentDB at 127\.0\.0\.1:9"):
        await hw.connect("kurrentdb://127.0.0.1:9?tls=false&maxDiscoverAttempts=1")
