"""A DynamoDB for tests: the endpoint at ``HEADWATER_DYNAMODB_ENDPOINT``, else MiniStack, started for this test run.

MiniStack (an emulator from PyPI, whose transactions are atomic) lives in a virtual environment of its own under
``.cache`` beside the tests, made when it is first needed. It listens on 127.0.0.1, on a port that is free, and ends
with the test run. It keeps everything in memory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.services.turns import CACHE, in_turn

MINISTACK = "ministack==1.5.33"
START_SECONDS = 60


class Missing(Exception):
    """No DynamoDB is to be had here, and why."""


@contextmanager
def dynamodb() -> Iterator[str]:
    """The URL of a DynamoDB. Raises ``Missing`` where there is none to be had."""
    with pytest.MonkeyPatch.context() as patch:
        given = os.environ.get("HEADWATER_DYNAMODB_ENDPOINT")
        patch.setenv("AWS_ACCESS_KEY_ID", os.environ.get("AWS_ACCESS_KEY_ID", "test"))
        patch.setenv("AWS_SECRET_ACCESS_KEY", os.environ.get("AWS_SECRET_ACCESS_KEY", "test"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        if given:
            yield given
            return
        program = _installed()
        port = _free_port()
        settings = {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb,cloudformation,iam",
            "LOG_LEVEL": "ERROR",
        }
        log = (CACHE / f"ministack-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}.log").open("w")
        process = subprocess.Popen([program], env=os.environ | settings, stdout=log, stderr=log)
        try:
            _await(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)
            log.close()


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    """The URL of a DynamoDB. Skips where there is none to be had."""
    pytest.importorskip("aiobotocore", reason="aiobotocore is not installed: pip install 'headwater[dynamodb]'")
    with ExitStack() as started:
        try:
            endpoint = started.enter_context(dynamodb())
        except Missing as missing:
            pytest.skip(str(missing))
        yield endpoint


def _installed() -> str:
    """MiniStack's program; installed where it is not yet."""
    home = CACHE / MINISTACK.replace("==", "-")
    program = home / "bin" / "ministack"
    try:
        with in_turn("ministack"):
            if program.exists():
                return str(program)
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, capture_output=True)
            pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", MINISTACK]
            subprocess.run(pip, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(home, ignore_errors=True)
        said = getattr(error, "stderr", b"") or b""
        raise Missing(f"no DynamoDB: {MINISTACK} can't be installed here: {error} {said.decode()[-200:]}") from error
    return str(program)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(process: subprocess.Popen[bytes], endpoint: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"no DynamoDB: MiniStack does not start; see the logs in {CACHE}") from error
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def dynamodb_url(dynamodb_endpoint: str) -> Iterator[str]:
    """The URL of a store that is still to be made, in a table of its own. Deleted after the test."""
    table = f"t-{uuid.uuid4().hex}"
    yield f"dynamodb://{table}?region=eu-central-1&endpoint={dynamodb_endpoint}"
    asyncio.run(_deleted(f"dynamodb://{table}?region=eu-central-1&endpoint={dynamodb_endpoint}", table))


async def _deleted(url: str, table: str) -> None:
    from botocore.exceptions import ClientError

    from headwater.backends.dynamodb.service import Service
    from headwater.backends.dynamodb.url import parse

    service = Service(parse(url))
    await service.open()
    try:
        await service.client.delete_table(TableName=table)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    finally:
        await service.close()
