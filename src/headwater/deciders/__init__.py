"""Deciding what happens: rules about one stream, and about whatever a query finds."""

from headwater.deciders.aggregate import Aggregate, applies
from headwater.deciders.boundaries import Boundary, DecisionModel, Fact
from headwater.deciders.commands import Executed
from headwater.deciders.decider import Decider
from headwater.deciders.multistream import Streams, execute_all
from headwater.deciders.recorded import Commands
from headwater.deciders.replaying import Redecided, redecided
from headwater.deciders.repository import Loaded, Repository
from headwater.deciders.snapshots import SnapshotEvery

__all__ = [
    "Aggregate",
    "Boundary",
    "Commands",
    "Decider",
    "DecisionModel",
    "Executed",
    "Fact",
    "Loaded",
    "Redecided",
    "Repository",
    "SnapshotEvery",
    "Streams",
    "applies",
    "execute_all",
    "redecided",
]
