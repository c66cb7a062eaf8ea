from __future__ import annotations

from pathlib import Path

import pytest
from agent.attempt import Attempt
from agent.board import Board, Mode
from agent.model.share import Share
from agent.room import GIVE_EVERY, LOOK, Room

from tests.fakes import FakeReserve

SIZE = 1600
ATTEMPT = Attempt("job-1", 1, "t", "host-a", "lab", "handle", "boot", 1.0, {"image": "file:///a"}, "amd64", Share())


class Host:
    """A disk of ten reserves with a board."""

    def __init__(self, size: int = SIZE) -> None:
        self.board = Board()
        self.board.set_mode(Mode("ready"))
        self.reserve = FakeReserve(size, 10 * SIZE)
        self.trouble: str | None = None
        self.room = Room(self.board, self.reserve, Path("/state"), size, lambda: self.trouble)
        self.now = 100.0

    def look(self) -> bool:
        """Look once; return whether new work is taken."""
        self.now = self.room.step(self.now)
        return self.board.mode.takes_work


def test_with_room_the_reserve_is_made_and_work_taken() -> None:
    host = Host()
    assert host.look()
    assert host.reserve.kept == SIZE
    assert host.now == 100.0 + LOOK


def test_a_disk_that_is_nearly_full_holds_new_work_until_there_is_clearly_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host()
    host.look()
    host.reserve.used += host.reserve.free() - SIZE // 4 + 1
    assert not host.look()
    assert host.reserve.kept == SIZE, "the journal has not needed it"
    assert "/state" in host.board.problems()["disk"]
    host.reserve.used -= 1
    assert not host.look(), "a little more is no end of it"
    host.reserve.used -= SIZE // 4
    assert host.look()
    assert host.board.problems() == {}
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("disk is full: no new jobs are taken") == 1


def test_no_work_is_taken_before_what_was_given_up_is_back() -> None:
    host = Host()
    host.look()
    host.reserve.used += host.reserve.free()
    assert host.reserve.give()
    assert not host.look()
    host.reserve.used -= SIZE
    assert host.look()
    assert host.reserve.kept == SIZE


def test_a_job_on_a_full_disk_gets_parts_of_one_half_in_turn_so_that_it_can_end() -> None:
    host = Host()
    host.look()
    host.board.show(ATTEMPT)
    parts = []
    for _ in range(int(20 * GIVE_EVERY / LOOK)):
        host.reserve.used += host.reserve.free()
        host.look()
        parts.append(host.reserve.kept)
    assert parts[0] == SIZE - SIZE // 16
    assert parts[int(GIVE_EVERY / LOOK) - 1] == parts[0], "one in a while"
    assert parts[-1] == SIZE // 2


def test_without_a_job_nothing_is_given_up() -> None:
    host = Host()
    host.look()
    host.reserve.used += host.reserve.free()
    host.look()
    assert host.reserve.kept == SIZE


def test_while_the_journal_cannot_be_written_new_work_is_held_and_the_operator_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host()
    assert host.look()
    host.trouble = "journal: disk I/O error"
    assert not host.look()
    assert not host.look()
    assert host.board.problems() == {"journal": "journal: disk I/O error"}
    assert host.board.mode.held == "journal: journal: disk I/O error"
    host.trouble = None
    assert host.look()
    assert host.board.problems() == {}
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert messages == ["journal cannot be written: no new jobs are taken"]


def test_without_a_reserve_a_full_disk_is_for_matching_to_see() -> None:
    host = Host(size=0)
    host.reserve.used += host.reserve.free()
    assert host.look()
