"""The Node client from npm: its appends are its own, its reads run in Kurrent's Rust client."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headwater.testing.serving import ServerProcess
from tests.server.conftest import NODE_FILES

STEPS = re.findall(r"^  async (\w+)\(\)", (NODE_FILES / "everyday.js").read_text(), re.MULTILINE)


@pytest.fixture(scope="module", params=["kurrentdb", "kurrentdb+discover"])
def outcomes(request: pytest.FixtureRequest, node: Path, server: ServerProcess) -> dict[str, str]:
    """What each step of the program came to."""
    url = server.url.replace("kurrentdb://", f"{request.param}://")
    shutil.copy(NODE_FILES / "everyday.js", node)
    done = subprocess.run(["node", "everyday.js", url], cwd=node, capture_output=True, text=True, timeout=120)
    lines = re.split(r"^(?=ok |FAILED )", done.stdout, flags=re.MULTILINE)
    return {line.split(" ", 1)[1].split(":")[0].strip(): line for line in lines if " " in line} | {"": done.stderr}


@pytest.mark.parametrize("step", STEPS)
def test_step(outcomes: dict[str, str], step: str) -> None:
    assert outcomes.get(step, outcomes[""]).strip() == f"ok {step}"
