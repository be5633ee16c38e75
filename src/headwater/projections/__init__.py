"""Read models: events into tables or values, each event's effect exactly once; built anew beside the old ones."""

from headwater.projections.building import Building
from headwater.projections.comparing import Comparison
from headwater.projections.handling import InvalidProjection, handles
from headwater.projections.projection import Fold, Projection, fold
from headwater.projections.projector import Projector
from headwater.projections.targets import Target, TargetFailed
from headwater.projections.view import View

__all__ = [
    "Building",
    "Comparison",
    "Fold",
    "InvalidProjection",
    "Projection",
    "Projector",
    "Target",
    "TargetFailed",
    "View",
    "fold",
    "handles",
]
