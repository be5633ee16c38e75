"""Fixtures for all tests: the services they need, each started once."""

from __future__ import annotations

pytest_plugins = ["tests.services.kafka", "tests.services.postgres"]
