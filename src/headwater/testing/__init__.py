"""For tests: of your own code (docs/how-to/test-your-application.md), and of backends: the conformance suite.

``from headwater.testing.conformance import Conformance`` (needs the extra ``testing``); see there.
"""

from __future__ import annotations
