"""A real Apache Kafka for tests: the brokers at ``HEADWATER_KAFKA`` (host:port), else one started from its jars.

Maven fetches the jars that ``kafka_files/pom.xml`` names into ``.cache``; the broker runs as long as the tests do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.services.kafka_proxy import Proxy
from tests.services.turns import CACHE, in_turn

FILES = Path(__file__).parent / "kafka_files"
JARS = CACHE / "kafka"
START_SECONDS = 60.0


class Broker(NamedTuple):
    """Where it listens."""

    address: str
    """host:port."""
    behind: int = 0
    """A port whose clients are told to come to ``front``; 0 where the broker is none of ours."""
    front: int = 0


class NoKafka(Exception):
    """No broker can be had here: why."""


@contextlib.contextmanager
def running() -> Iterator[Broker]:
    """A broker. Raises ``NoKafka``."""
    if given := os.environ.get("HEADWATER_KAFKA"):
        yield Broker(given)
        return
    classpath = f"{_jars()}/*"
    with tempfile.TemporaryDirectory(prefix="headwater-kafka-") as folder:
        port, controller, behind, front = [_free_port() for _ in range(4)]
        properties = Path(folder) / "server.properties"
        properties.write_text(
            (FILES / "server.properties").read_text()
            + f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},PROXIED://127.0.0.1:{behind}\n"
            + f"advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{front}\n"
            + f"controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={folder}/data\n"
        )
        java = ["java", "-Xmx384m", "-cp", classpath]
        name = uuid.uuid4().hex[:22]
        format = [*java, "kafka.tools.StorageTool", "format", "-t", name, "-c", str(properties)]
        subprocess.run(format, check=True, capture_output=True)
        with open(Path(folder) / "broker.log", "wb") as log:
            broker = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        try:
            _wait_for(broker, port)
            yield Broker(f"127.0.0.1:{port}", behind, front)
        finally:
            broker.kill()
            broker.wait()


def _jars() -> Path:
    """Where the jars are. Raises ``NoKafka`` where they can't be had."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoKafka(f"set HEADWATER_KAFKA, or install {program} to start one from its jars")
    with in_turn("kafka"):
        if (JARS / "complete").exists():
            return JARS
        copy = ["mvn", "-q", "-B", "-f", str(FILES / "pom.xml"), "dependency:copy-dependencies"]
        made = subprocess.run(
            [*copy, f"-DoutputDirectory={JARS}", "-DincludeScope=runtime"], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise NoKafka(f"Maven can't fetch its jars: {' '.join(made.stdout.split())[-300:]}")
        (JARS / "complete").touch()
    return JARS


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_for(broker: subprocess.Popen[bytes], port: int) -> None:
    from confluent_kafka.admin import AdminClient

    deadline = time.monotonic() + START_SECONDS
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    while time.monotonic() < deadline:
        if broker.poll() is not None:
            raise NoKafka(f"the broker ended with {broker.returncode}")
        try:
            admin.list_topics(timeout=1)
            return
        except Exception:  # not up yet
            time.sleep(0.1)
    raise NoKafka(f"the broker did not answer in {START_SECONDS:g} s")


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """A broker. Skips where there is none to be had."""
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'headwater[kafka]'")
    with contextlib.ExitStack() as held:
        try:
            broker = held.enter_context(running())
        except NoKafka as missing:
            pytest.skip(f"no Kafka: {missing}")
        yield broker


@pytest.fixture(scope="session")
def kafka(kafka_broker: Broker) -> str:
    """host:port of a broker."""
    return kafka_broker.address


@pytest.fixture
def kafka_proxy(kafka_broker: Broker) -> Iterator[Proxy]:
    """The same broker through a connection that can be cut."""
    if not kafka_broker.behind:
        pytest.skip("the broker is none of ours: nothing can stand between")
    with Proxy(kafka_broker.front, kafka_broker.behind) as proxy:
        yield proxy


@pytest.fixture
def kafka_url(kafka: str) -> str:
    """The URL of a topic that is still to be made."""
    return f"kafka://{kafka}/t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def kafka_store_url(kafka: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a store that is still to be made, its index in the test's folder. Its topics go after the test."""
    from confluent_kafka.admin import AdminClient

    name = f"t{uuid.uuid4().hex}"
    yield f"kafka://{kafka}/{name}?index={tmp_path}/index.db"
    admin = AdminClient({"bootstrap.servers": kafka, "logger": logging.getLogger("headwater.kafka")})
    for gone in admin.delete_topics([f"{name}.events", f"{name}.beside"]).values():
        with suppress(Exception):  # it was never made
            gone.result(10)
