"""Persistent subscriptions: groups whose consumers share the events, each acknowledged one by one."""

from __future__ import annotations

from headwater.server.kurrentdb.groups.service import PersistentSubscriptions

__all__ = ["PersistentSubscriptions"]
