from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from agent.model.records import Outcome
from agent.studioml import reporter
from agent.studioml.memory import Memory
from agent.studioml.objects import Troubles
from agent.studioml.report import Identity
from agent.studioml.reporter import FLUSH_EVERY, LONGEST_LINE, MOST_WAITING, Reporter
from agent.studioml.senders import ASK_EVERY, KnownSenders

from tests.fakes import FakeClock, FakeSenders
from tests.unit.studioml.studio_world import KEY, Studio


class SlowSenders(FakeSenders):
    """Each call takes some seconds. Keeps how many reports each call had."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.has_place_for_reports = True
        self.seconds = 0.0
        self.batches: list[int] = []
        self._clock = clock

    def tell(self, reports: Sequence[bytes]) -> None:
        self._clock.advance(self.seconds)
        super().tell(reports)
        self.batches.append(len(reports))


class World:
    """The reporter of one attempt, whose reports are not sealed."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.senders = SlowSenders(self.clock)
        self.known = KnownSenders(self.senders, self.clock)
        self.directory = directory
        self.reporter = self.restarted()

    def restarted(self) -> Reporter:
        """The reporter in the next life of the agent."""
        memory = Memory(self.directory, lambda: "edge-node-1-1wMtKp")
        identity = Identity(KEY, memory.notes.accession, "edge-node-1")
        self.reporter = Reporter(
            self.known,
            bytes.decode,
            "jobs",
            identity,
            memory,
            self.clock,
            Troubles("s"),
        )
        return self.reporter

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.senders.reports]

    @property
    def messages(self) -> list[str]:
        """What logging reports say, and progress reports by their state."""
        return [told["logging"]["message"] if "logging" in told else told["progress"]["state"] for told in self.reports]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_experiment_from_its_start_to_its_end(world: World, studio: Studio) -> None:
    world.reporter.started()
    world.reporter.line("hello")
    world.reporter.ended(studio.ended(), final=True)
    assert world.messages == ["scanning queue", "Started", "start", "hello", "stop", "Success"]
    assert world.reports[0]["logging"]["fields"] == {"queue_name": "jobs"}
    assert world.reports[4]["logging"]["fields"] == {"success": "True"}
    about = {"experimentId": KEY, "uniqueId": "edge-node-1-1wMtKp", "executorId": "edge-node-1"}
    assert all(about.items() <= told.items() for told in world.reports[1:])
    assert "experimentId" not in world.reports[0]


def test_a_failure_is_reported_with_its_reason_and_code(world: World, studio: Studio) -> None:
    world.reporter.ended(studio.ended(Outcome.FAILED, exit_code=3, reason="exit status 3"), final=True)
    assert world.messages == ["stop", "Failed"]
    assert world.reports[0]["logging"]["fields"] == {"error": "exit status 3", "success": "False"}
    assert world.reports[1]["progress"]["error"] == {"msg": "exit status 3", "code": 3}


def test_an_attempt_that_is_given_back_is_neither_success_nor_failure(world: World, studio: Studio) -> None:
    world.reporter.ended(studio.ended(Outcome.STOPPED, reason="the host is drained"), final=False)
    assert world.messages == ["given back to its queue: the host is drained"]
    assert world.reports[0]["logging"]["severity"] == "Warning"


def test_an_experiment_that_never_runs_has_failed(world: World) -> None:
    world.reporter.not_run("too late")
    assert world.reports[0]["progress"]["error"] == {"msg": "too late"}


def test_a_line_of_json_is_progress_besides(world: World) -> None:
    world.reporter.line(' {"loss": 0.5} ')
    assert world.messages == [' {"loss": 0.5} ', "Started"]
    assert world.reports[1]["progress"]["json"] == '{"loss": 0.5}'


def test_lines_are_collected_for_a_second(world: World) -> None:
    world.reporter.line("first")
    for number in range(10):
        world.reporter.line(f"line {number}")
    assert world.messages == ["first"]
    world.clock.advance(FLUSH_EVERY)
    world.reporter.line("last")
    assert world.senders.batches == [1, 11]


def test_lines_wait_no_longer_than_for_the_next_question(world: World) -> None:
    world.reporter.line("first")
    world.reporter.line("second")
    world.reporter.flush()
    assert world.messages == ["first", "second"]
    world.reporter.flush()
    assert world.senders.batches == [1, 1]


def test_nothing_is_sent_when_nobody_listens(world: World, studio: Studio) -> None:
    world.senders.has_place_for_reports = False
    world.reporter.started()
    world.reporter.line("hello")
    world.reporter.ended(studio.ended(), final=True)
    assert world.senders.batches == []


def test_who_begins_to_listen_hears_what_comes_from_then_on(world: World) -> None:
    world.senders.has_place_for_reports = False
    world.reporter.started()
    world.senders.has_place_for_reports = True
    world.clock.advance(ASK_EVERY)
    world.reporter.line("hello")
    assert world.messages == ["hello"]


def test_each_report_is_sent_once_whatever_happens_to_the_agent(world: World, studio: Studio) -> None:
    world.reporter.started()
    world.reporter.line("one")
    world.restarted().started()
    for line in ("one", "two"):
        world.reporter.line(line)
    for _ in range(2):
        end = world.restarted()
        for line in ("one", "two", "three"):
            end.line(line)
        end.ended(studio.ended(), final=True)
    told = ["scanning queue", "Started", "start", "one", "two", "three", "stop", "Success"]
    assert world.messages == told


def test_senders_that_are_away_cost_reports_and_hardly_any_time(world: World, studio: Studio) -> None:
    world.senders.down = True
    world.reporter.started()
    for number in range(1000):
        world.reporter.line(f"line {number}")
        world.clock.advance(0.01)
    world.senders.down = False
    world.clock.advance(ASK_EVERY)
    world.reporter.line("later")
    world.reporter.ended(studio.ended(), final=True)
    assert world.messages[-3:] == ["later", "stop", "Success"]
    assert len(world.reports) <= MOST_WAITING + 3


def test_senders_that_read_slowly_take_a_share_of_the_time_only(world: World) -> None:
    world.senders.seconds = 2.0
    began = world.clock.boottime()
    for number in range(2000):
        world.reporter.line(f"line {number}")
        world.clock.advance(0.05)
    spent = 2.0 * len(world.senders.batches)
    assert 0.15 < spent / (world.clock.boottime() - began) < 0.4


def test_lines_that_come_faster_than_they_can_be_sent_are_left_out(world: World, studio: Studio) -> None:
    world.senders.seconds = 60.0
    for number in range(5000):
        world.reporter.line(f"line {number}")
    world.senders.seconds = 0.0
    world.reporter.ended(studio.ended(), final=True)
    assert world.messages[0] == "line 0"
    assert world.messages[-2:] == ["stop", "Success"]
    assert len(world.reports) <= 2 * MOST_WAITING + 3


def test_what_was_left_out_is_not_sent_after_a_restart(world: World, studio: Studio) -> None:
    world.senders.seconds = 60.0
    lines = [f"line {number}" for number in range(500)]
    for line in lines:
        world.reporter.line(line)
    world.clock.advance(600.0)
    world.reporter.flush()
    sent = len(world.reports)
    end = world.restarted()
    for line in lines:
        end.line(line)
    end.ended(studio.ended(), final=True)
    assert len(world.reports) == sent + 2


def test_a_line_is_cut_and_reports_are_sent_in_pieces_that_a_broker_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "MOST_AT_ONCE", 3 * LONGEST_LINE)
    world.reporter.line("first")
    for _ in range(6):
        world.reporter.line("x" * 250_000)
    world.reporter.line('{"last": 1}')
    world.reporter.flush()
    assert [len(message) for message in world.messages[1:7]] == [LONGEST_LINE] * 6
    assert world.messages[7:] == ['{"last": 1}', "Started"]
    assert world.senders.batches == [1, 2, 2, 4]


def test_text_that_is_no_unicode_is_reported(world: World) -> None:
    world.reporter.line("half \ud800 and ü")
    assert world.messages == ["half ? and ü"]
