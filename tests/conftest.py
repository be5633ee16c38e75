"""Fixtures for all tests: the services they need, each started once."""

from __future__ import annotations

from pathlib import Path

pytest_plugins = ["tests.services.postgres"] if (Path(__file__).parent / "services" / "postgres.py").exists() else []
