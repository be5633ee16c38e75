"""The promises through the synchronous face of a backend that needs an event loop."""

from __future__ import annotations

import pytest

from headwater.connect import BACKENDS
from headwater.testing.conformance import Conformance
from headwater.testing.faces import Face


class TestBackgroundLoop(Conformance):
    home = ""  # no home of events: it is not told of in docs/guarantees.md
    histories = 5

    @pytest.fixture
    def face(self) -> Face:
        return "sync"

    @pytest.fixture
    def store_url(self, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setitem(BACKENDS, "looping", "tests.unit.looping:open")
        return "looping:"
