"""The user's own rules, codecs and commands, as arguments of commands that run them."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from headwater.cli.loading import named

if TYPE_CHECKING:
    from headwater.deciders import Commands, Decider
    from headwater.typed import Codec

__all__ = ["Codecs", "Rule", "codec_named", "commands_named", "rule_named"]

T = TypeVar("T")

Rule = Annotated[
    str,
    typer.Argument(
        metavar="RULE", help="Your Decider or Aggregate: package.module:name, or file.py:name.", show_default=False
    ),
]
Codecs = Annotated[
    str | None,
    typer.Option("--codec", help="Your Codec; where left out, the only one in the rule's module.", show_default=False),
]


def codec_named(text: str) -> Codec:
    """The codec that the argument names."""
    from headwater.typed import Codec

    found: Codec = _found(text, Codec, "codec")[0]
    return found


def rule_named(rule: str, codec: str | None) -> tuple[Decider[Any, Any], Codec]:
    """The decider that the argument names, and the codec: the one named, or the only one in the rule's module."""
    from headwater.deciders import Aggregate, Decider
    from headwater.deciders.aggregate import AggregateDecider
    from headwater.typed import Codec

    found, module = _found(rule, (Decider, type), "Decider or Aggregate")
    if isinstance(found, type):
        if not issubclass(found, Aggregate):
            raise typer.BadParameter(f"{rule}: that class is no Aggregate.")
        found = AggregateDecider(found)
    return found, codec_named(codec) if codec is not None else _only(module, Codec, "codec")


def commands_named(rule: str, commands: str | None) -> Commands:
    """The commands that the argument names, or the only ones in the rule's module."""
    from headwater.deciders import Commands

    if commands is not None:
        found: Commands = _found(commands, Commands, "Commands")[0]
        return found
    return _only(named(rule, "rule")[0], Commands, "commands")


def _found(text: str, kind: Any, what: str) -> tuple[Any, ModuleType]:
    """What the argument names, and the module that it is in."""
    module, name = named(text, what)
    found = getattr(module, name, None)
    if not isinstance(found, kind):
        there = [key for key, value in vars(module).items() if isinstance(value, kind) and not key.startswith("_")]
        known = f"It has: {', '.join(there)}." if there else "It has none."
        raise typer.BadParameter(f"{text.rpartition(':')[0]} has no {what} {name!r}. {known}")
    return found, module


def _only(module: ModuleType, kind: type[T], what: str) -> T:
    """The one of its kind that the module has, by whatever names."""
    there = list({id(each): each for each in vars(module).values() if isinstance(each, kind)}.values())
    if len(there) != 1:
        raise typer.BadParameter(f"there is no {what}, or more than one: say which with --{what} file.py:name.")
    return there[0]
