"""DeadLetters: the fake and records in a store, S3 among them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from agent.adapters.files import FileRecords
from agent.adapters.s3 import S3Records
from agent.deadletters import StoreDeadLetters
from agent.errors import StoreUnavailable
from agent.ports import Burial, DeadLetters, Delivery, RecordStore
from agent.pubsub_plan import Place
from agent.results import Results

from tests.fakes import START_OF_TIME, FakeClock, FakeDeadLetters, FakeRecords
from tests.servers import Emulator


class Letter(NamedTuple):
    body: bytes
    attributes: Mapping[str, str]
    reason: str
    host: str


class World(NamedTuple):
    """Dead letters, and a way to read them all."""

    port: DeadLetters
    read: Callable[[], dict[str, Letter]]


def fake_world() -> World:
    port = FakeDeadLetters()

    def read() -> dict[str, Letter]:
        buried = port.letters.items()
        return {sid: Letter(each.body, each.attributes, why, host) for sid, (each, why, host) in buried}

    return World(port, read)


def store_world(records: RecordStore) -> World:
    def read() -> dict[str, Letter]:
        return dict(map(letter, records.list("dead/").records))

    def letter(name: str) -> tuple[str, Letter]:
        stored = records.get(f"dead/{name}")
        assert stored is not None
        found = json.loads(stored.body)
        body = found["body"].encode() if "body" in found else base64.b64decode(found["body_base64"])
        return found["sid"], Letter(body, found["attributes"], found["reason"], found["host"])

    return World(StoreDeadLetters(records, FakeClock()), read)


def pubsub_world(emulator: Emulator, name: str) -> World:
    from agent.adapters.pubsub.connection import Connection
    from agent.adapters.pubsub.queue import PubSubQueue

    place, connection = Place("lab-1", name), Connection(emulator.endpoint)
    results = Results(FakeRecords(FakeClock()), "mem://results")
    queue = PubSubQueue("lab", place, connection, results, FakeClock())
    queue.admin(()).init()

    def read() -> dict[str, Letter]:
        letters: dict[str, Letter] = {}
        while (found := connection.pull(f"projects/lab-1/subscriptions/{name}-dead", 2.0)) is not None:
            attributes = dict(found.message.attributes)
            sid, reason, host = (attributes.pop(key) for key in ("sid", "reason", "host"))
            assert sid not in letters
            letters[sid] = Letter(found.message.data, attributes, reason, host)
        return letters

    return World(queue.dead_letters(), read)


@pytest.fixture(params=["fake", "store in memory", "store in a directory", "store in s3", "Pub/Sub"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "fake":
        return fake_world()
    if request.param == "Pub/Sub":
        return pubsub_world(request.getfixturevalue("emulator"), f"d{abs(hash(request.node.name)):x}")
    if request.param == "store in s3":
        client = request.getfixturevalue("minio").client()
        return store_world(S3Records(client, request.getfixturevalue("bucket"), "lab/queue"))
    in_memory = request.param == "store in memory"
    return store_world(FakeRecords(FakeClock()) if in_memory else FileRecords.make(tmp_path / "store"))


def delivery(sid: str, body: bytes = b"{}") -> Delivery:
    return Delivery("lab", sid, body, {"edge_arch": "any", "edge_accel": "none"}, "handle", START_OF_TIME)


@pytest.mark.parametrize("body", [b"", b'{"text": "n\xc3\xa4me"}', b"\xff\xfe broken", bytes(range(256))])
def test_a_buried_message_is_kept_as_it_came_with_its_reason(world: World, body: bytes) -> None:
    world.port.bury(delivery("job-1", body), "not JSON", "host-a")
    attributes = {"edge_arch": "any", "edge_accel": "none"}
    assert world.read() == {"job-1": Letter(body, attributes, "not JSON", "host-a")}


def test_the_same_message_twice_is_one_dead_letter_with_the_first_reason(world: World) -> None:
    world.port.bury(delivery("job-1"), "first", "host-a")
    world.port.bury(delivery("job-1"), "second", "host-b")
    world.port.bury(delivery("job-2"), "other", "host-b")
    assert {sid: letter.reason for sid, letter in world.read().items()} == {"job-1": "first", "job-2": "other"}


@pytest.mark.parametrize("sid", ["projects/p/subscriptions/s+12", "../../etc", ".hidden", "with space"])
def test_any_message_id_can_be_buried(world: World, sid: str) -> None:
    world.port.bury(delivery(sid), "reason", "host-a")
    assert list(world.read()) == [sid]


def test_what_was_buried_is_found_by_its_id(world: World) -> None:
    assert world.port.find("job-1") is None
    world.port.bury(delivery("job-1"), "not JSON", "host-a")
    found = world.port.find("job-1")
    assert found == Burial("not JSON", "host-a", START_OF_TIME)


def test_a_store_that_is_away_says_so() -> None:
    records = FakeRecords(FakeClock())
    records.down = True
    with pytest.raises(StoreUnavailable):
        StoreDeadLetters(records, FakeClock()).bury(delivery("job-1"), "reason", "host-a")


def test_a_record_tells_when_and_from_which_queue() -> None:
    records = FakeRecords(FakeClock())
    StoreDeadLetters(records, FakeClock()).bury(delivery("job-1"), "reason", "host-a")
    stored = records.get("dead/job-1")
    assert stored is not None
    assert json.loads(stored.body) == {
        "sid": "job-1",
        "queue": "lab",
        "reason": "reason",
        "host": "host-a",
        "at": START_OF_TIME,
        "attributes": {"edge_arch": "any", "edge_accel": "none"},
        "body": "{}",
    }
