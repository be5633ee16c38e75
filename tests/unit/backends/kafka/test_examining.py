"""What ``doctor`` says of brokers and topics."""

from __future__ import annotations

import asyncio

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

import headwater as hw
from headwater.testing.loans import CASE, loan


async def findings(store: hw.EventStore) -> dict[str, tuple[str, str]]:
    return {each.subject: (each.state, each.finding) for each in await store._backend.examine()}


def alter(kafka: str, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": kafka})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(10)


async def test_as_made(kafka_store_url: str) -> None:
    async with hw.connect(kafka_store_url) as store:
        said = await findings(store)
        assert {subject: state for subject, (state, _) in said.items() if state != "well"} == {"copies": "note"}
        await store.append(CASE, loan(1))
        assert (await findings(store))["owner"] == ("well", "this opening")
        async with hw.connect(kafka_store_url.partition("?")[0]) as other:
            assert "sign of life" in (await findings(other))["owner"][1]


async def test_topics_that_lose_events(kafka: str, kafka_store_url: str) -> None:
    async with hw.connect(kafka_store_url) as store:
        name = kafka_store_url.partition("?")[0].rpartition("/")[2]
        alter(kafka, f"{name}.events", retention_ms="604800000", unclean_leader_election_enable="true")
        alter(kafka, f"{name}.beside", cleanup_policy="delete", max_message_bytes="1000000")
        said = await findings(store)
        for subject in ("retention", "election", "beside", "sizes"):
            assert said[subject][0] == "wrong", said[subject]


async def test_a_message_that_a_topic_refuses(kafka: str, kafka_store_url: str) -> None:
    """It is told what is wrong, and the appends beside it are stored."""
    async with hw.connect(kafka_store_url):
        name = kafka_store_url.partition("?")[0].rpartition("/")[2]
        alter(kafka, f"{name}.events", max_message_bytes="20000")
    async with hw.connect(kafka_store_url) as store:
        scan = hw.NewEvent("LetterScanned", b"\x00" * 100_000, content_type="image/tiff")
        appends = [store.append(f"loan-{number}", [*loan(20), *([scan] if number == 3 else [])]) for number in range(8)]
        results = await asyncio.gather(*appends, return_exceptions=True)
        (refused,) = [each for each in results if isinstance(each, BaseException)]
        assert refused is results[3]
        assert isinstance(refused, hw.StoreUnavailable)
        assert not refused.transient
        assert "max.message.bytes" in str(refused)
        assert await store.head() == 7 * 20
        assert await store.stream("loan-3") is None
