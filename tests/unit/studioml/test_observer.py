from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.errors import HostFault, StoreUnavailable
from agent.matching import MatchPolicy
from agent.model.cargo import NOTHING, Cargo
from agent.model.records import Outcome
from agent.ports import Delivery, Watched
from agent.studioml.envelope import opened, seal
from agent.studioml.observer import StudioObserver, StudioObservers
from agent.studioml.origin import Database, Origin
from agent.studioml.reading import Keys, NoKeys, Reading, Rules
from agent.studioml.senders import CONFIRMED_AFTER
from agent.worker import follow

from tests.fakes import START_OF_TIME, FakeAccess, FakeArtifacts, FakeClock, FakeSenders
from tests.studioml_keys import RecordedKeys, private_key
from tests.unit.studioml.studio_world import KEY, METADATA, POLICY, RECORD, RESULTS, STATUS, Studio, cargo, origin
from tests.unit.studioml.test_status import packed
from tests.waiting import wait_until
from tests.worlds import World, world
from tests.worlds import policy as everything_allowed

HOST = "edge-node-1"
WAITING = {"key": KEY, "status": "waiting", "own": [1]}
FINISHED = {"status": "finished", "time_finished": START_OF_TIME + 60.5}


class BrokenKeys(NoKeys):
    def reports(self, queue: str) -> object | None:
        raise HostFault("reports/jobs.pem: no public key that can be read")


class OwnerKeys(NoKeys):
    """Clients open reports as this agent opens requests."""

    def opening(self, queue: str) -> object | None:
        return private_key("report")


def read(body: bytes) -> Any:
    """What a client reads in a sealed report."""
    envelope = {"payload": body.decode()}
    return json.loads(opened(envelope, Reading(keys=OwnerKeys(), rules=Rules(require_signature=False))))


class Observed:
    """An agent's observers over a store and senders in memory."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.clock = FakeClock()
        self.senders = FakeSenders()
        self.senders.has_place_for_reports = True
        self.observers = self.agent()

    def agent(
        self, keys: Keys | None = None, policy: MatchPolicy = POLICY, *, reachable: bool = True
    ) -> StudioObservers:
        senders = self.senders if reachable else None
        access = self.studio.access
        keys = keys or RecordedKeys()
        self.observers = StudioObservers(access, policy, self.clock, HOST, keys, lambda queue: senders, seal)
        return self.observers

    def of(self, attempt: Watched) -> StudioObserver:
        observer = self.observers.of(attempt)
        assert observer is not None
        return observer

    def observer(self, of: Origin | None = None) -> StudioObserver:
        return self.of(self.studio.attempt(of))

    def end(self, attempt: Watched, final: bool = True) -> None:
        """Tell the end as the agent does: with a new observer."""
        self.of(attempt).finished(attempt, final)

    @property
    def told(self) -> list[str]:
        """What the reports say: messages, and states of progress."""
        reports = [read(body) for body in self.senders.reports]
        return [each["logging"]["message"] if "logging" in each else each["progress"]["state"] for each in reports]


@pytest.fixture
def observed(studio: Studio) -> Observed:
    studio.put(RECORD, WAITING)
    return Observed(studio)


def scraped(studio: Studio) -> Any:
    (uri,) = [uri for uri in studio.artifacts.uris if uri.startswith(f"{METADATA}scrape-host-")]
    return studio.get_json(uri)


def results(studio: Studio) -> Any:
    with tarfile.open(fileobj=io.BytesIO(studio.get(RESULTS))) as tar:
        file = tar.extractfile("_results.json")
        assert file is not None
        return json.loads(file.read())


def test_nobody_observes_what_came_in_another_form(observed: Observed) -> None:
    attempt = observed.studio.attempt()
    assert observed.observers.of(msgspec.structs.replace(attempt, cargo=NOTHING)) is None
    assert observed.observers.of(attempt) is not None


def test_checkpoints_come_as_often_as_the_message_says(observed: Observed) -> None:
    assert observed.observer().checkpoint_every is None
    assert observed.observer(origin(checkpoint_every=60.0)).checkpoint_every == 60.0


# --- start and run --------------------------------------------------------------------------------------------------


def test_a_start_is_in_the_record_and_reported(observed: Observed) -> None:
    observed.observer().started(observed.studio.attempt())
    expected = {**WAITING, "status": "running", "time_started": START_OF_TIME}
    assert observed.studio.get_json(RECORD) == expected
    assert observed.told == ["scanning queue", "Started", "start"]


def test_a_checkpoint_uploads_metadata_and_notes_the_time(observed: Observed) -> None:
    studio = observed.studio
    (studio.directory / "log").write_bytes(b'hello\n{"loss": 0.5}\n')
    observer = observed.observer()
    observer.line("hello")
    observer.line('{"loss": 0.5}')
    observer.checkpoint(studio.attempt())
    assert studio.get_json(RECORD)["time_last_checkpoint"] == START_OF_TIME
    log, scrape = [uri.removeprefix(METADATA) for uri in studio.artifacts.uris if uri.startswith(METADATA)]
    assert log.removeprefix("output-").removesuffix(".log") == scrape.removeprefix("scrape-").removesuffix(".json")
    assert log.startswith(f"output-host-{HOST}-")
    assert studio.get(METADATA + log) == b'hello\n{"loss": 0.5}\n'
    assert scraped(studio)["loss"] == 0.5


def test_metadata_says_what_runners_say_of_an_experiment(observed: Observed) -> None:
    observer, attempt = observed.observer(), observed.studio.attempt()
    observer.checkpoint(attempt)
    expected = {
        "experiment": {"key": KEY, "project": "edge"},
        "artifacts": {tag: f"s3://h:9/b/{tag}.tar" for tag in ("workspace", "modeldir", "output")},
        "host": HOST,
        "start_time": "2027-01-15T08:00:00.000000+00:00",
    }
    assert scraped(observed.studio) == {"studioml": expected}
    observed.end(observed.studio.ended())
    assert scraped(observed.studio) == {"studioml": {**expected, "stop_time": "2027-01-15T08:01:00.500000+00:00"}}


def test_an_experiment_without_a_project_has_none(observed: Observed) -> None:
    observed.observer(origin(project=None)).checkpoint(observed.studio.attempt())
    assert scraped(observed.studio)["studioml"]["experiment"] == {"key": KEY}


def test_attempts_of_the_same_second_have_files_of_their_own(observed: Observed, tmp_path: Path) -> None:
    for number in range(5):
        directory = tmp_path / f"s{number}.1"
        directory.mkdir()
        attempt = msgspec.structs.replace(observed.studio.attempt(), directory=directory)
        observed.of(attempt).checkpoint(attempt)
        observed.of(attempt).checkpoint(attempt)
    assert len([uri for uri in observed.studio.artifacts.uris if uri.startswith(METADATA)]) == 5


# --- wishes ---------------------------------------------------------------------------------------------------------


def test_an_experiment_that_nobody_stops_goes_on(observed: Observed) -> None:
    observed.studio.put(STATUS, packed(("status.json", b'{"status": "running"}')))
    observer = observed.observer()
    for _ in range(10):
        assert observer.wish() is None
        observed.clock.advance(10.0)


def test_a_stopped_record_ends_it(observed: Observed) -> None:
    observer = observed.observer()
    observed.studio.put(RECORD, {**WAITING, "status": "stopped"})
    assert observer.wish() == "cancelled"


def test_the_artifact_status_ends_it(observed: Observed) -> None:
    observer = observed.observer()
    observed.studio.put(STATUS, packed(("status.json", b'{"status": "Stopped"}')))
    assert observer.wish() == "cancelled"


def test_a_deleted_queue_ends_it_when_it_stays_deleted(observed: Observed) -> None:
    observer = observed.observer()
    observed.senders.has_queue = False
    assert observer.wish() is None
    observed.clock.advance(CONFIRMED_AFTER)
    assert observer.wish() == "cancelled"


def test_a_wish_is_heard_though_other_ways_to_say_it_are_broken(observed: Observed) -> None:
    observed.studio.put(RECORD, b"not JSON")
    observed.studio.put(STATUS, b"no archive")
    observed.senders.has_queue = False
    observer = observed.observer()
    assert observer.wish() is None
    observed.clock.advance(CONFIRMED_AFTER)
    assert observer.wish() == "cancelled"


def test_each_broken_way_is_logged_once(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    observed.studio.artifacts.down = True
    observed.senders.down = True
    observer = observed.observer()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert observer.wish() is None
            observed.clock.advance(10.0)
    whats = sorted(record.__dict__["what"] for record in caplog.records)
    assert whats == ["the end of the queue", "wishes in _status", "wishes in the status record"]


# --- the end --------------------------------------------------------------------------------------------------------


def test_an_end_is_stored_noted_and_reported(observed: Observed) -> None:
    observed.end(observed.studio.ended())
    expected = {"exit_msg": "ok", "experiment_id": KEY, "host": HOST, "artifacts": {}}
    assert results(observed.studio) == expected
    assert observed.studio.get_json(RECORD) == {**WAITING, **FINISHED}
    assert observed.told == ["stop", "Success"]


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.CANCELLED])
def test_an_end_from_outside_has_results(observed: Observed, outcome: Outcome) -> None:
    observed.end(observed.studio.ended(outcome, reason="from outside"))
    assert results(observed.studio)["exit_msg"] == "from outside"
    assert observed.told == ["stop", "Failed"]


def test_a_failure_has_no_results(observed: Observed) -> None:
    observed.end(observed.studio.ended(Outcome.FAILED))
    assert RESULTS not in observed.studio.artifacts.uris
    assert observed.studio.get_json(RECORD)["status"] == "finished"
    assert observed.told == ["stop", "Failed"]


def test_an_experiment_that_is_given_back_waits_again(observed: Observed) -> None:
    observed.observer().started(observed.studio.attempt())
    observed.end(observed.studio.ended(Outcome.TIMED_OUT), final=False)
    assert observed.studio.get_json(RECORD) == {**WAITING, "time_started": None}
    assert RESULTS not in observed.studio.artifacts.uris
    assert observed.told[-1].startswith("given back to its queue")
    assert "stop_time" in scraped(observed.studio)["studioml"]


def test_results_that_cannot_be_stored_now_are_the_only_trouble_that_is_raised(observed: Observed) -> None:
    studio = observed.studio
    studio.artifacts.down = True
    observed.senders.down = True
    observer = observed.observer()
    observer.started(studio.attempt())
    observer.line('{"a": 1}')
    observer.checkpoint(studio.attempt())
    with pytest.raises(StoreUnavailable):
        observed.end(studio.ended())
    observed.end(studio.ended(of=origin(results_uri=None)))
    studio.artifacts.down = observed.senders.down = False
    observed.end(studio.ended())
    assert results(studio)["exit_msg"] == "ok"
    assert studio.get_json(RECORD)["status"] == "finished"


@pytest.mark.parametrize(
    "uri", ["mem://elsewhere/_results.tar", "gopher://brought/_results.tar", "mem://brought/../own/_results.tar"]
)
def test_results_that_can_never_be_stored_keep_no_job(observed: Observed, uri: str) -> None:
    allowed = msgspec.structs.replace(POLICY, output_prefixes=("gopher://",))
    observed.agent(policy=allowed)
    observed.end(observed.studio.ended(of=origin(results_uri=uri)))
    assert observed.studio.get_json(RECORD)["status"] == "finished"


def test_an_end_that_is_told_again_is_reported_once(observed: Observed) -> None:
    for _ in range(3):
        observed.end(observed.studio.ended())
    assert observed.told == ["stop", "Success"]


# --- who is not told ------------------------------------------------------------------------------------------------


def whole_life(observed: Observed, of: Origin | None = None) -> None:
    observer, attempt = observed.observer(of), observed.studio.attempt(of)
    observer.started(attempt)
    observer.line('{"a": 1}')
    observer.checkpoint(attempt)
    assert observer.wish() is None
    observed.end(observed.studio.ended(of=of))


def test_nothing_is_sent_when_nobody_listens(observed: Observed) -> None:
    observed.senders.has_place_for_reports = False
    whole_life(observed)
    assert observed.senders.reports == ()


def test_nothing_is_sent_without_a_key_to_seal_it(observed: Observed) -> None:
    observed.agent(RecordedKeys(reports=False))
    whole_life(observed)
    assert observed.senders.reports == ()


def test_a_key_that_cannot_be_read_costs_the_reports_only(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    observed.agent(BrokenKeys())
    with caplog.at_level(logging.WARNING):
        whole_life(observed)
    assert observed.senders.reports == ()
    assert "reports/jobs.pem" in caplog.records[0].__dict__["reason"]
    assert observed.studio.get_json(RECORD)["status"] == "finished"


def test_senders_that_cannot_be_reached_are_not_told(observed: Observed) -> None:
    observed.agent(reachable=False)
    whole_life(observed)
    assert observed.senders.reports == ()


def test_a_message_that_asks_for_nothing_gets_nothing(observed: Observed) -> None:
    nothing = Origin(KEY, queue="jobs", database=Database("firebase"))
    whole_life(observed, nothing)
    assert observed.studio.artifacts.uris == (RECORD,)
    assert observed.studio.get_json(RECORD) == WAITING
    assert observed.told[-1] == "Success"


def test_no_report_can_be_read_on_its_way(observed: Observed) -> None:
    observer = observed.observer()
    observer.started(observed.studio.attempt())
    observer.line("a secret line")
    assert observed.senders.reports
    for body in observed.senders.reports:
        assert b"secret" not in body
        assert b"Started" not in body
        assert read(body)["executorId"] == HOST


# --- what never ran -------------------------------------------------------------------------------------------------


def delivery() -> Delivery:
    return Delivery("lab", "s", b"{}", {}, "handle", START_OF_TIME)


def test_an_experiment_whose_time_is_over_is_finished_and_failed(observed: Observed) -> None:
    observed.observers.not_run(delivery(), cargo(), "expired")
    assert observed.studio.get_json(RECORD) == {**WAITING, "status": "finished", "time_finished": START_OF_TIME}
    assert observed.told == ["Failed"]
    error = read(observed.senders.reports[0])["progress"]["error"]
    assert error == {"msg": "the lifetime of the experiment was over before it could run"}


def test_a_message_that_is_dropped_says_why(observed: Observed) -> None:
    observed.observers.not_run(delivery(), cargo(), 'max_duration = "soon"')
    assert read(observed.senders.reports[0])["progress"]["error"] == {"msg": 'max_duration = "soon"'}


@pytest.mark.parametrize("unknown", [None, NOTHING, Cargo(form="native")])
def test_a_message_that_does_not_say_who_it_is_tells_nobody(observed: Observed, unknown: Cargo | None) -> None:
    observed.observers.not_run(delivery(), unknown, "not JSON")
    assert observed.senders.reports == ()
    assert observed.studio.get_json(RECORD) == WAITING


def test_what_never_ran_troubles_nobody_when_its_servers_are_away(observed: Observed) -> None:
    observed.studio.artifacts.down = observed.senders.down = True
    observed.observers.not_run(delivery(), cargo(), "expired")


# --- on the path of a job -------------------------------------------------------------------------------------------


APPEND = '[{"op": "add", "path": "/steps/-", "value": %d}]'
SCRIPT = f"""
echo '{{"steps": []}}'
echo '{APPEND % 1}'
while [ ! -e go ]; do sleep 0.02; done
echo '{APPEND % 2}'
printf '{APPEND % 3}'
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    monkeypatch.setattr("agent.observing.TICK", 0.02)
    made = world(tmp_path, allowed=everything_allowed(brought_prefixes=("mem://",)))
    yield made
    made.runtime.close()


class Watching:
    """A world whose jobs StudioML clients have sent."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.places = FakeArtifacts()  # what the client has, apart from what the queue has
        self.senders = FakeSenders()
        self.senders.has_place_for_reports = True
        self.look_on()

    def look_on(self) -> None:
        made = self.made
        observers = StudioObservers(
            FakeAccess(self.places),
            made.allowed,
            made.clock,
            made.host,
            RecordedKeys(),
            lambda queue: self.senders,
            seal,
        )
        made.change(observers=observers)

    def submit(self, script: str) -> str:
        self.places.write(RECORD, [json.dumps(WAITING).encode()])
        sid = self.made.submit(script)
        self.made.cargo[sid] = cargo()
        return sid

    def scraped(self) -> Any:
        uris = [uri for uri in self.places.uris if uri.startswith(f"{METADATA}scrape-host-")]
        assert len(uris) == 1
        return self.read(uris[0])

    def record(self) -> Any:
        return self.read(RECORD)

    def read(self, uri: str) -> Any:
        with self.places.open(uri) as stream:
            return json.loads(stream.read())

    def lines(self) -> list[str]:
        reports = [read(body) for body in self.senders.reports]
        return [each["logging"]["message"] for each in reports if "logging" in each]


def test_each_line_counts_once_though_all_are_told_again_at_the_end(made: World) -> None:
    watching = Watching(made)
    sid = watching.submit(SCRIPT)
    task = made.start_one()
    made.wait_for_log(sid, "value")
    wait_until(lambda: watching.record()["status"] == "running", what="the start in the record")
    made.tell(sid, "go")
    task.join()
    assert watching.scraped()["steps"] == [1, 2, 3]
    printed = ['{"steps": []}', *(APPEND % number for number in (1, 2, 3))]
    assert watching.lines() == ["scanning queue", "start", *printed, "stop"]
    assert watching.record()["status"] == "finished"
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_each_line_counts_once_though_the_agent_was_restarted(made: World) -> None:
    watching = Watching(made)
    sid = watching.submit(SCRIPT)
    task = made.start_one()
    made.wait_for_log(sid, "value")
    wait_until(lambda: "start" in watching.lines(), what="the first report")
    made.context.detaching.set()
    task.join()
    found = made.restart(follow_up=False)
    watching.look_on()
    made.tell(sid, "go")
    for attempt in found:
        follow(made.context, attempt)
    assert watching.scraped()["steps"] == [1, 2, 3]
    printed = ['{"steps": []}', *(APPEND % number for number in (1, 2, 3))]
    assert watching.lines() == ["scanning queue", "start", *printed, "stop"]


def test_results_that_could_not_be_stored_keep_the_job_until_they_are(made: World) -> None:
    watching = Watching(made)
    sid = watching.submit("exit 0")
    watching.places.down = True
    made.run_one()
    assert made.waiting() == [sid]
    assert made.results.committed(sid) is None
    watching.places.down = False
    made.until_over()
    assert RESULTS in watching.places.uris
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
