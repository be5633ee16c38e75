"""Accounts, and transfers between them: a rule for each, and the decisions that need both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

import headwater as hw
from tests.unit.deciders.loans import Refused


@hw.event("AccountOpened")
class Opened(msgspec.Struct, frozen=True):
    balance: int


@hw.event("MoneyWithdrawn")
class Withdrawn(msgspec.Struct, frozen=True):
    amount: int


@hw.event("MoneyDeposited")
class Deposited(msgspec.Struct, frozen=True):
    amount: int


@hw.event("TransferRequested")
class TransferRequested(msgspec.Struct, frozen=True):
    source: str
    target: str
    amount: int


@hw.event("TransferSettled")
class Settled(msgspec.Struct, frozen=True):
    pass


@hw.event("TransferRefused")
class TransferRefused(msgspec.Struct, frozen=True):
    reason: str


class Open(msgspec.Struct, frozen=True):
    balance: int


class Withdraw(msgspec.Struct, frozen=True):
    amount: int


class Deposit(msgspec.Struct, frozen=True):
    amount: int


def decide(command: Any, balance: int) -> list[object]:
    match command:
        case Open(amount):
            return [Opened(amount)]
        case Withdraw(amount) if amount > balance:
            raise Refused("not enough money")
        case Withdraw(amount):
            return [Withdrawn(amount)]
        case Deposit(amount):
            return [Deposited(amount)]
    raise AssertionError(command)


def evolve(balance: int, event: Any) -> int:
    match event:
        case Opened(amount) | Deposited(amount):
            return balance + amount
        case Withdrawn(amount):
            return balance - amount
    return balance


def follow(state: str, event: Any) -> str:
    match event:
        case TransferRequested():
            return "requested"
        case Settled():
            return "settled"
        case TransferRefused():
            return "refused"
    return state


CODEC = hw.Codec([Opened, Withdrawn, Deposited, TransferRequested, Settled, TransferRefused])
ACCOUNT: hw.Decider[Any, int] = hw.Decider(0, decide, evolve, name="account")
TRANSFER: hw.Decider[list[object], str] = hw.Decider("", lambda command, state: command, follow, name="transfer")
ONE, OTHER = "account-112", "account-10862"


def transfer(amount: int) -> Any:
    """Money from the source to the target."""

    def decided(balances: Mapping[str, int]) -> dict[str, list[object]]:
        return {
            "source": ACCOUNT.decide(Withdraw(amount), balances["source"]),
            "target": ACCOUNT.decide(Deposit(amount), balances["target"]),
        }

    return decided


def settle(amount: int) -> Any:
    """The same for a transfer with a stream of its own, which ends well or is refused, once."""

    def decided(states: Mapping[str, Any]) -> dict[str, list[object]]:
        if states["transfer"] != "requested":
            return {}
        try:
            return {**transfer(amount)(states), "transfer": [Settled()]}
        except Refused as refusal:
            return {"transfer": [TransferRefused(str(refusal))]}

    return decided


class Purse(hw.Aggregate):
    def __init__(self) -> None:
        self.balance = 0

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise Refused("not enough money")
        self.record(Withdrawn(amount))

    def deposit(self, amount: int) -> None:
        self.record(Deposited(amount))

    @hw.applies(Opened)
    def _opened(self, event: Opened) -> None:
        self.balance = event.balance

    @hw.applies(Withdrawn)
    def _withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount

    @hw.applies(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount


class Bank:
    """The repositories over one store."""

    def __init__(self, store: hw.EventStore, *, snapshots: hw.SnapshotEvery | None = None) -> None:
        self.store = store
        self.accounts: hw.Repository[Any, int] = hw.Repository(store, CODEC, ACCOUNT, snapshots=snapshots)
        self.runs = 0  # of the process manager's handler
        self.transfers: hw.Repository[list[object], str] = hw.Repository(store, CODEC, TRANSFER)

    def pair(self, source: str = ONE, target: str = OTHER) -> dict[str, tuple[hw.Repository[Any, Any], str]]:
        return {"source": (self.accounts, source), "target": (self.accounts, target)}

    async def open(self, *streams: str, balance: int = 100) -> None:
        for stream in streams:
            await self.accounts.execute(stream, Open(balance))

    async def balances(self, *streams: str) -> list[int]:
        return [(await self.accounts.load(stream)).state for stream in streams]

    async def settle(self, event: hw.Event, reaction: hw.Reaction) -> None:
        """The process manager's handler: for a transfer that was requested."""
        self.runs += 1
        asked = CODEC.decode(event)
        assert isinstance(asked, TransferRequested)
        assert event.stream is not None
        streams = {"transfer": (self.transfers, event.stream), **self.pair(asked.source, asked.target)}
        await hw.execute_all(streams, settle(asked.amount), id=reaction.key)
