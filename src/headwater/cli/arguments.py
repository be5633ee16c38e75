"""Arguments that several commands share, and what their texts mean."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.queries import Query, QueryItem

__all__ = ["AsJson", "Categories", "Consumer", "Store", "query_of"]

Store = Annotated[str, typer.Argument(metavar="URL", help="The store, such as sqlite:///loans.db", show_default=False)]
Consumer = Annotated[
    str, typer.Argument(metavar="NAME", help="The consumer, as headwater consumers list shows it.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Categories = Annotated[
    list[str] | None,
    typer.Option("--category", help="Only streams of this category (`loan` of `loan-173688`); repeat for more."),
]


def query_of(
    types: list[str] | None = None,
    tags: list[str] | None = None,
    categories: list[str] | None = None,
    streams: list[str] | None = None,
) -> Query | None:
    """The query that these options ask; None for every event."""
    if not (types or tags or categories or streams):
        return None
    return Query([QueryItem(types or (), tags or (), categories or (), streams or ())])
