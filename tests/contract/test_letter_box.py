"""LetterBox: dead letters in a store, S3 among them, and on Pub/Sub, put on their queue again or dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.files import FileRecords
from agent.adapters.s3 import S3Records
from agent.claims import pending
from agent.cli import cli
from agent.config import load_config
from agent.deadletters import StoreDeadLetters, StoreLetterBox, drop, requeue
from agent.errors import StoreUnavailable
from agent.model.job import parse_job
from agent.ports import DeadLetters, Delivery, Letter, LetterBox, RecordStore
from agent.pubsub_plan import Place, attributes_of
from agent.results import Results
from agent.wire import encode
from agent.wiring import Stores
from click.testing import CliRunner

from tests.fakes import START_OF_TIME, FakeClock, FakeRecords
from tests.servers import Emulator

JOB = parse_job({"image": "file:///a.sif", "name": "train"})
LANE = "any-none"


class World(NamedTuple):
    """Where letters are buried, and opened; `waiting` is what the queue hands out, by submission id, each once."""

    dead_letters: DeadLetters
    open: Callable[[], LetterBox]
    waiting: Callable[[], dict[str, bytes]]
    results: Results


def store_world(records: RecordStore) -> World:
    def waiting() -> dict[str, bytes]:
        found = {each.sid: records.get(each.key) for each in pending(records, (LANE,))}
        return {sid: stored.body for sid, stored in found.items() if stored is not None}

    results = Results(FakeRecords(FakeClock()), "mem://results")
    return World(StoreDeadLetters(records, FakeClock()), lambda: StoreLetterBox(records), waiting, results)


def pubsub_world(emulator: Emulator, name: str) -> World:
    from agent.adapters.pubsub.connection import Connection
    from agent.adapters.pubsub.queue import PubSubQueue

    connection = Connection(emulator.endpoint)
    results = Results(FakeRecords(FakeClock()), "mem://results")
    queue = PubSubQueue("lab", Place("lab-1", name), connection, results, SystemClock())
    queue.admin((LANE,)).init()
    (lane,) = queue.lanes((LANE,), 120.0).values()

    def waiting() -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        while (delivery := lane.pull(2.0)) is not None:
            assert delivery.sid not in found or found[delivery.sid] == delivery.body
            found[delivery.sid] = delivery.body
        return found

    return World(queue.dead_letters(), queue.letter_box, waiting, results)


@pytest.fixture(params=["memory", "directory", "s3", "Pub/Sub"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "Pub/Sub":
        name = sha256(request.node.name.encode()).hexdigest()[:12]
        return pubsub_world(request.getfixturevalue("emulator"), f"b{name}")
    if request.param == "s3":
        client = request.getfixturevalue("minio").client()
        return store_world(S3Records(client, request.getfixturevalue("bucket"), "lab/queue"))
    return store_world(FakeRecords(FakeClock()) if request.param == "memory" else FileRecords.make(tmp_path / "store"))


def bury(world: World, sid: str, body: bytes = b"no job", reason: str = "not JSON") -> None:
    delivery = Delivery("lab", sid, body, attributes_of(LANE), "handle", START_OF_TIME)
    world.dead_letters.bury(delivery, reason, "host-a")


def letters(world: World) -> dict[str, Letter]:
    """Return all letters, and let go of them."""
    with closing(world.open()) as box:
        return {letter.sid: letter for letter in box.letters()}


@pytest.mark.parametrize("body", [b"no job", b"\xff\x00 broken"], ids=["text", "bytes"])
def test_a_letter_is_the_message_as_it_came_with_reason_host_and_time(world: World, body: bytes) -> None:
    bury(world, "bad-1", body)
    letter = letters(world)["bad-1"]
    assert (letter.queue, letter.reason, letter.host, letter.body) == ("lab", "not JSON", "host-a", body)
    assert letter.attributes == attributes_of(LANE)
    assert letter.at > 0


def test_a_look_takes_nothing_away(world: World) -> None:
    bury(world, "bad-1")
    bury(world, "bad-2")
    assert sorted(letters(world)) == ["bad-1", "bad-2"]
    assert sorted(letters(world)) == ["bad-1", "bad-2"]


def test_a_letter_is_put_on_its_queue_again_as_it_came_and_is_none_any_more(world: World) -> None:
    bury(world, "job-1", encode(JOB))
    with closing(world.open()) as box:
        (letter,) = box.letters()
        assert requeue(letter, JOB, box, world.results, 1.0, "eva") == "job-1+1"
    assert letters(world) == {}
    assert world.waiting() == {"job-1+1": encode(JOB)}
    submission = world.results.submission("job-1+1")
    assert submission is not None
    assert (submission.job["name"], submission.queue, submission.by) == ("train", "lab", "eva")
    burial = world.results.burial("job-1")
    assert burial is not None
    assert (burial.became, burial.reason, burial.host) == ("requeued as job-1+1", "not JSON", "host-a")


def test_a_dropped_letter_is_gone_and_its_job_says_so(world: World) -> None:
    bury(world, "bad-1")
    bury(world, "bad-2")
    with closing(world.open()) as box:
        for letter in box.letters():
            if letter.sid == "bad-1":
                drop(letter, box, world.results)
    assert list(letters(world)) == ["bad-2"]
    assert world.waiting() == {}
    burial = world.results.burial("bad-1")
    assert burial is not None
    assert burial.became == "dropped"


@pytest.mark.parametrize("method", ["send", "remove"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_a_letter_is_put_back_neither_loses_nor_doubles_it(world: World, method: str, when: str) -> None:
    bury(world, "job-1", encode(JOB))
    with closing(world.open()) as box:
        (letter,) = box.letters()
        with pytest.raises(StoreUnavailable):
            requeue(letter, JOB, Dying(box, method, when), world.results, 1.0, None)
    with closing(world.open()) as box:
        for letter in box.letters():
            assert requeue(letter, JOB, box, world.results, 2.0, None) == "job-1+1"
    assert letters(world) == {}
    assert world.waiting() == {"job-1+1": encode(JOB)}


def test_the_command_handles_letters_on_pubsub(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\n[pubsub]\nendpoint = "{emulator.endpoint}"\n'
        f'[[queues]]\nname = "lab"\nurl = "pubsub://lab-1/letters-of-the-command"\nresults = "{tmp_path}/results"\n'
    )

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(file), *words])
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.stdout

    run("queue", "init", "--lanes", f"{LANE},plain")
    config = load_config(file, {}, {}).config
    dead = Stores(config).dead_letters(config.queues[0])
    dead.bury(Delivery("lab", "bad-1", b"no job", {}, "handle", START_OF_TIME), "not JSON", "host-a")
    for _ in range(2):
        (letter,) = json.loads(run("dead-letter", "list", "--json"))
        assert (letter["letter"], letter["host"], letter["size"]) == ("bad-1", "host-a", 6)
    assert run("dead-letter", "show", "bad-1").splitlines()[-1] == "no job"
    assert run("dead-letter", "requeue", "bad-1", "--as-is") == "bad-1 requeued as bad-1+1\n"
    assert json.loads(run("dead-letter", "list", "--json")) == []
    assert json.loads(run("status", "bad-1", "--json"))["reason"] == "requeued as bad-1+1; not JSON"


class Dying:
    """A LetterBox with one call that fails, `before` it is made or `after`."""

    def __init__(self, box: LetterBox, method: str, when: str) -> None:
        self._box, self._method, self._when = box, method, when
        self.letters, self.close = box.letters, box.close

    def send(self, letter: Letter, sid: str) -> None:
        self._call("send", lambda: self._box.send(letter, sid))

    def remove(self, letter: Letter) -> None:
        self._call("remove", lambda: self._box.remove(letter))

    def _call(self, name: str, call: Callable[[], None]) -> None:
        if name == self._method and self._when == "before":
            raise StoreUnavailable("gone")
        call()
        if name == self._method:
            raise StoreUnavailable("gone")
