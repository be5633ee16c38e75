"""A real bank's log (BPI Challenge 2012, see examples/data/README.md), read as the commands that led to it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, iterparse

from examples.loans.rules import (
    Accept,
    Approve,
    Cancel,
    Command,
    Decline,
    Preaccept,
    Request,
    ReturnOffer,
    SendOffer,
    WithdrawOffer,
)

LOG = Path(__file__).parents[1] / "data" / "bpic2012.xes.gz"

COMMANDS: dict[str, Callable[[str], Command]] = {
    "A_PREACCEPTED": lambda by: Preaccept(),
    "A_ACCEPTED": Accept,
    "O_SENT": SendOffer,
    "O_CANCELLED": lambda by: WithdrawOffer(),
    "O_SENT_BACK": lambda by: ReturnOffer(),
    "A_APPROVED": Approve,
    "A_DECLINED": Decline,
    "A_CANCELLED": lambda by: Cancel(),
}
"""From the log's name of an event and the clerk to a command. The other names are steps on the way to these."""


class Case(NamedTuple):
    """One application of the log."""

    stream: str
    commands: list[Command]


def cases() -> Iterator[Case]:
    """The log's applications, in its order."""
    with gzip.open(LOG) as file:
        for _, element in iterparse(file):
            if element.tag.endswith("}trace"):
                yield _case(element)
                element.clear()


def _case(trace: Element) -> Case:
    about = _attributes(trace)
    commands: list[Command] = [Request(int(about["AMOUNT_REQ"]))]
    for element in trace:
        event = _attributes(element)
        if command := COMMANDS.get(event.get("concept:name", "")):
            commands.append(command(event.get("org:resource", "unknown")))
    return Case(f"loan-{about['concept:name']}", commands)


def _attributes(element: Element) -> dict[str, str]:
    return {child.get("key", ""): child.get("value", "") for child in element}
