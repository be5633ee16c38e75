"""Deciding again: today's rule over recorded histories, and where it would decide differently."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from headwater.backend import StreamInfo
from headwater.codecs import place_of
from headwater.deciders.decider import Decider
from headwater.deciders.recorded import Commands, RecordedCommand
from headwater.events import Event
from headwater.store import EventStore
from headwater.typed import Codec
from headwater.typed.personal import personal_parts

__all__ = ["Redecided", "redecided"]


class Redecided(msgspec.Struct, frozen=True):
    """A command of the past, and what today's rule makes of it."""

    stream: str
    version: int
    """Of the first event that it led to."""
    position: int
    command: str
    """Its name."""
    recorded: list[str]
    """What it led to, as Python shows it; personal data as placeholders."""
    today: list[str]
    """What it would lead to."""
    problem: str = ""
    """Why it would lead to nothing: the refusal, or what went wrong; why it can't be decided again."""

    @property
    def same(self) -> bool:
        """Whether today's rule decides as was decided then."""
        return not self.problem and self.recorded == self.today


async def redecided(
    store: EventStore, codec: Codec, rule: Decider[Any, Any], commands: Commands, stream: StreamInfo
) -> AsyncIterator[Redecided]:
    """Each command that is kept in this stream, decided again in the state that the events before it lead to.

    A rule that looks at the clock, or at anything but command and state, may differ for that alone. Streams of which
    a policy hides the beginning are passed over: their states can't be known.
    """
    if stream.first_version > 1:
        return
    state = rule.initial()
    under_way: _UnderWay | None = None
    async with aclosing(store.read(stream.name)) as events:
        async for event in events:
            bodies = codec.bodies(event)
            kept = commands.kept_with(event)
            if kept is not None:
                under_way = _UnderWay(event, kept, *_decided(rule, commands, kept, state))
            for body in bodies:
                state = rule.evolve(state, body)
            if under_way is not None:
                under_way.recorded += bodies
                under_way.left -= 1
                if under_way.left <= 0:
                    yield under_way.told(codec)
                    under_way = None


class _UnderWay:
    """A command whose events are being read."""

    def __init__(self, event: Event, kept: RecordedCommand, today: list[object], problem: str) -> None:
        self.event = event
        self.kept = kept
        self.today = today
        self.problem = problem
        self.recorded: list[object] = []
        self.left = kept.events

    def told(self, codec: Codec) -> Redecided:
        return Redecided(
            self.event.stream or "",
            self.event.version,
            self.event.position,
            self.kept.type,
            _shown(codec, self.recorded),
            _shown(codec, self.today),
            self.problem,
        )


def _decided(
    rule: Decider[Any, Any], commands: Commands, kept: RecordedCommand, state: Any
) -> tuple[list[object], str]:
    try:
        command = commands.read(kept)
    except Exception as error:
        return [], f"it can't be read: {error}"
    try:
        return rule.decide(command, state), ""
    except Exception as refusal:
        return [], f"{type(refusal).__name__}: {refusal}"


def _shown(codec: Codec, bodies: Sequence[object]) -> list[str]:
    """The events as they are stored, without what is personal: that was not kept with the command."""
    shown = []
    for body in bodies:
        if type(body) not in codec.types.values():
            shown.append(repr(body))
            continue
        new = codec.encode(body)
        fields = msgspec.to_builtins(new.data)
        for pointer, part in personal_parts(body).items():
            place = place_of(fields, pointer)
            if place is not None:
                place[0][place[1]] = part.placeholder
        shown.append(f"{new.type} {msgspec.json.encode(fields).decode()}")
    return shown
