"""The Node client from npm: its appends are its own, its reads run in Kurrent's Rust client."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headwater.testing.serving import ServerProcess

FILES = Path(__file__).parent / "node_files"
HOME = Path(__file__).parents[2] / ".cache" / "node"
STEPS = re.findall(r"^  async (\w+)\(\)", (FILES / "everyday.js").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def node() -> Path:
    """A folder where the client is installed. Skips where it can't be."""
    npm, program = shutil.which("npm"), shutil.which("node")
    if npm is None or program is None:
        pytest.skip("no npm or no node on the PATH: they run the Node client")
    HOME.mkdir(parents=True, exist_ok=True)
    if not (HOME / "node_modules" / "@kurrent" / "kurrentdb-client").exists():
        shutil.copy(FILES / "package.json", HOME)
        done = subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=HOME, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm can't install the Node client here: {done.stderr[-300:]}")
    return HOME


@pytest.fixture(scope="module", params=["kurrentdb", "kurrentdb+discover"])
def outcomes(request: pytest.FixtureRequest, node: Path, server: ServerProcess) -> dict[str, str]:
    """What each step of the program came to."""
    url = server.url.replace("kurrentdb://", f"{request.param}://")
    shutil.copy(FILES / "everyday.js", node)
    done = subprocess.run(["node", "everyday.js", url], cwd=node, capture_output=True, text=True, timeout=120)
    lines = re.split(r"^(?=ok |FAILED )", done.stdout, flags=re.MULTILINE)
    return {line.split(" ", 1)[1].split(":")[0].strip(): line for line in lines if " " in line} | {"": done.stderr}


@pytest.mark.parametrize("step", STEPS)
def test_step(outcomes: dict[str, str], step: str) -> None:
    assert outcomes.get(step, outcomes[""]).strip() == f"ok {step}"
