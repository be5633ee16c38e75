"""Fixtures for all tests: the services they need, each started once."""

from __future__ import annotations

import signal

pytest_plugins = [
    "tests.services.dynamodb",
    "tests.services.kafka",
    "tests.services.kurrentdb",
    "tests.services.marten",
    "tests.services.postgres",
]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a script's background: programs would never see Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
