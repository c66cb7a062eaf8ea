"""What a job prints, on its way to somebody who follows it from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.board import Board
from agent.following import AGAIN, Follower
from agent.livelog import LiveLogs
from agent.model.live import Watch
from agent.streaming import FOLLOWED, LOOK, PIECE, WINDOW, Streams, read_piece

from tests.fakes import FakeRecords
from tests.waiting import wait_until
from tests.worlds import World, world


class Counted(FakeRecords):
    """Counts the requests."""

    requests = 0

    def _check(self) -> None:
        self.requests += 1
        super()._check()


class Show:
    """A running job, the loop that tells of it, and somebody who follows."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.records = Counted(made.clock)
        self.logs = LiveLogs(self.records)
        self.woken: list[str] = []
        self.restart()
        self.sid = made.submit("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two")
        self.task = made.start_one()
        made.wait_for_log(self.sid, "one")
        wait_until(lambda: self.live("run"))
        self.follower = Follower(self.logs, self.sid, "eva", self.woken.append, with_step=True)
        self.heard = b""
        self.remarks: list[str] = []

    def live(self, step: str) -> bool:
        return any(each.step == step for each in self.board.live())

    def restart(self) -> None:
        """Begin to tell anew, as the next agent does."""
        context = self.made.context
        self.board: Board = context.board
        self.streams = Streams(context.board, context.directory, lambda queue: self.logs, self.made.clock)
        self.made.change(streams=self.streams)

    def turn(self, seconds: float = 1.0) -> None:
        """Let time pass, step by step, as the loop does."""
        for _ in range(max(1, round(seconds))):
            self.made.clock.advance(1.0)
            self.streams.step(self.made.clock.boottime())

    def follow(self, n: int = 1) -> None:
        """Let the follower look."""
        for said in self.follower.turn(n, "host-a", self.made.clock.boottime()):
            self.heard += said.data
            self.remarks += [said.remark] if said.remark else []
        self.made.clock.advance(2.0)

    def write(self, data: bytes) -> None:
        """Let the job print more."""
        with (self.made.directory(self.sid) / "log").open("ab") as file:
            file.write(data)

    def end(self) -> None:
        self.made.tell(self.sid, "go")
        self.task.join(20)

    def stored(self) -> list[str]:
        return list(self.records.list(f"{self.sid}/attempts/1/live/").records)


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield Show(made)
    made.runtime.close()


def test_a_follower_reads_what_the_job_prints_while_it_runs(show: Show) -> None:
    show.follow()
    assert show.woken == ["host-a"]
    show.streams.ring()
    show.turn()
    show.follow()
    assert (show.heard, show.follower.step) == (b"one\n", "run")
    show.write(b"more\n")
    show.turn(LOOK)
    show.follow()
    assert (show.heard, show.remarks) == (b"one\nmore\n", [])


def test_without_a_bell_the_follower_is_seen_within_half_a_minute(show: Show) -> None:
    show.turn(LOOK / 2)
    show.follow()
    show.turn(LOOK)
    show.follow()
    assert show.heard == b"one\n"


def test_while_nobody_follows_nothing_is_told_and_a_job_costs_some_120_requests_an_hour(show: Show) -> None:
    show.turn(3600)
    assert show.records.requests == 3600 / LOOK
    assert show.stored() == []


def test_who_stops_following_is_forgotten(show: Show) -> None:
    show.follow()
    show.turn(FOLLOWED + LOOK)
    before = show.stored()
    show.write(b"more\n")
    show.turn(2 * LOOK)
    assert show.stored() == before


def test_a_silent_job_costs_a_follower_nothing_more(show: Show) -> None:
    show.follow()
    show.turn(LOOK)
    before = show.records.requests
    show.turn(LOOK)
    assert show.records.requests == before + 1


def test_a_chatty_job_is_told_at_a_bounded_rate_and_takes_bounded_room(show: Show) -> None:
    show.follow()
    show.streams.ring()
    before = show.records.requests
    for _ in range(60):
        show.write(b"x" * PIECE)
        show.turn()
    assert show.records.requests - before <= 2 * 8 + 2
    pieces = [show.logs.piece(show.sid, 1, each) for each in show.logs.offsets(show.sid, 1)]
    assert 0 < sum(len(each.data) for each in pieces if each) <= WINDOW
    show.follow()
    assert len(show.remarks) >= 1
    assert "bytes are left out here; the saved log will have them" in show.remarks[-1]


def test_when_the_log_is_saved_what_was_told_is_removed(show: Show) -> None:
    show.follow()
    show.turn(LOOK)
    assert show.stored() != []
    show.end()
    show.turn(LOOK)
    assert show.stored() == []
    assert show.made.artifact(show.sid, "log") == b"one\ntwo\n"
    assert show.made.leftovers() == []


def test_a_new_agent_goes_on_where_the_last_one_was(show: Show) -> None:
    show.follow()
    show.turn(LOOK)
    show.follow()
    show.restart()
    show.write(b"more\n")
    show.turn(LOOK)
    show.follow()
    assert show.heard == b"one\nmore\n"
    assert show.logs.offsets(show.sid, 1) == (0, 4)


def test_a_store_that_is_away_delays_the_log_and_costs_no_byte(show: Show) -> None:
    show.follow()
    show.turn(LOOK)
    show.follow()
    show.records.down = True
    show.write(b"more\n")
    show.turn(LOOK)
    show.follow()
    assert show.remarks[0].startswith("cannot be followed now: ")
    show.records.down = False
    show.made.clock.advance(AGAIN)
    show.follow()
    show.turn(2 * LOOK)
    show.follow()
    assert show.heard == b"one\nmore\n"


def test_another_attempt_is_said_and_begins_anew(show: Show) -> None:
    show.follow()
    show.turn(LOOK)
    show.follow()
    show.follow(n=2)
    assert show.remarks == ["attempt 1 is over, attempt 2 begins: its log is a new one"]
    assert (show.follower.n, show.follower.offset, show.woken) == (2, 0, ["host-a", "host-a"])


def test_a_follower_says_again_and_again_that_he_is_there(show: Show) -> None:
    show.follow()
    show.made.clock.advance(AGAIN)
    show.follow()
    assert show.logs.watched(show.sid) == 2.0


def test_a_log_that_is_not_there_or_has_nothing_new_is_no_piece(tmp_path: Path) -> None:
    assert read_piece(tmp_path / "log", 0) is None
    (tmp_path / "log").write_bytes(b"abc")
    assert read_piece(tmp_path / "log", 3) is None
    piece = read_piece(tmp_path / "log", 1)
    assert piece is not None
    assert (piece.offset, piece.data) == (1, b"bc")


def test_who_follows_is_named_to_people(show: Show) -> None:
    show.logs.watch(show.sid, Watch(1.0, "eva"))
    stored = show.records.get(f"{show.sid}/watch")
    assert stored is not None
    assert b'"eva"' in stored.body
