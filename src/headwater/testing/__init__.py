"""For tests: the conformance suite that shows a backend's promises, and the loans it is shown with.

``from headwater.testing.conformance import Conformance`` (needs the extra ``testing``); see there.
"""

from __future__ import annotations
