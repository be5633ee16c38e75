"""A real Apache Kafka for tests: the brokers at ``HEADWATER_KAFKA``, else one started here from its own jars.

Maven finds the jars (``kafka/pom.xml`` names the version) and copies them into ``.cache`` beside the tests, once. One
broker in KRaft mode serves a whole test session, on a free port of 127.0.0.1, with its data in a temporary folder;
tests share it by topics of their own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from pathlib import Path

import pytest

POM = Path(__file__).parent / "kafka" / "pom.xml"
CACHE = Path(__file__).parents[2] / ".cache"
MAVEN = "{http://maven.apache.org/POM/4.0.0}"

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
# so that tests need not wait long until the transaction of a dead process is aborted
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
"""


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a Kafka broker. Skips where there is none to be had."""
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'headwater[kafka]'")
    given = os.environ.get("HEADWATER_KAFKA")
    if given:
        yield given
        return
    jars = _jars()
    folder = tmp_path_factory.mktemp("kafka")
    broker = Broker(jars, folder)
    try:
        broker.start()
        yield broker.address
    finally:
        broker.stop()


@pytest.fixture
def kafka_name() -> str:
    """A name for topics that nobody has used."""
    return f"loans-{uuid.uuid4().hex[:12]}"


class Broker:
    """One broker that is its own controller. Its data outlive ``stop``, so it can be started again."""

    def __init__(self, jars: Path, folder: Path) -> None:
        self._jars = jars
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._settings = folder / "server.properties"
        self._settings.write_text(SETTINGS.format(port=port, controller=controller, folder=folder))
        cluster = self._java("kafka.tools.StorageTool", "random-uuid").split()[-1]
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._settings))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._command("-Xmx512m", "-XX:+UseSerialGC"), "kafka.Kafka", str(self._settings)],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "output").read_text(errors="replace")[-2000:]
                pytest.fail(f"the broker does not start: {said}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it, and wait until it is gone."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            quiet = {"bootstrap.servers": self.address, "log_level": 0}
            return bool(AdminClient(quiet).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _java(self, *arguments: str) -> str:
        done = subprocess.run([*self._command("-Xmx128m"), *arguments], capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.fail(f"{arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def _command(self, *options: str) -> list[str]:
        return ["java", *options, "-cp", f"{self._jars}/*"]


def _jars() -> Path:
    """The folder with the broker's jars, filled by Maven where it is not there yet."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"no Kafka: set HEADWATER_KAFKA, or install Java 17 and Maven ({tool} is not found)")
    version = xml.parse(POM).getroot().findtext(f".//{MAVEN}dependency/{MAVEN}version")
    jars = CACHE / f"kafka-{version}"
    if not jars.exists():
        partial = CACHE / f"kafka-{version}.{os.getpid()}"
        command = ["mvn", "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        done = subprocess.run(command, cwd=POM.parent, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"no Kafka: Maven does not find its jars: {done.stdout[-500:]}")
        partial.rename(jars)
    return jars


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
