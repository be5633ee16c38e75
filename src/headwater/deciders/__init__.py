"""Deciding what happens: rules about one stream, about several, and about whatever a query finds."""

from headwater.deciders.aggregate import Aggregate, applies
from headwater.deciders.decider import Decider
from headwater.deciders.repository import Executed, Loaded, Repository
from headwater.deciders.snapshots import SnapshotEvery

__all__ = ["Aggregate", "Decider", "Executed", "Loaded", "Repository", "SnapshotEvery", "applies"]
