from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from agent.supervisor.diskfloor import FRESH_S, HORIZON_S, NOTE, SETTLE_S, DiskFloor

MIB = 1024**2
FLOOR = 100 * MIB
FAST = 10 * MIB


class Disk:
    """Jobs on a disk that has `free` bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free = FLOOR - 1

    def job(self, name: str) -> DiskFloor:
        directory = self.folder / name
        directory.mkdir()
        return DiskFloor(str(directory), FLOOR, lambda: self.free)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def ended(jobs: dict[str, tuple[DiskFloor, float]]) -> list[str]:
    """The jobs to be ended, each with its growth, once all have noted it."""
    for job, growth in jobs.values():
        job.is_due(growth, 0.0)
    return [name for name, (job, growth) in jobs.items() if job.is_due(growth, SETTLE_S)]


def test_nobody_is_ended_above_the_floor(disk: Disk) -> None:
    disk.free = FLOOR
    assert ended({"a": (disk.job("a"), FAST)}) == []


def test_the_job_that_grows_fastest_is_ended(disk: Disk) -> None:
    growth = {"a": 3 * MIB, "b": FAST, "c": 0}
    assert ended({name: (disk.job(name), each) for name, each in growth.items()}) == ["b"]


def test_of_two_that_grow_alike_one_is_ended(disk: Disk) -> None:
    assert ended({name: (disk.job(name), FAST) for name in "ab"}) == ["b"]


def test_who_does_not_grow_or_only_slowly_is_left_alone(disk: Disk) -> None:
    slow = disk.free / HORIZON_S
    assert ended({"a": (disk.job("a"), 0), "b": (disk.job("b"), slow - 1)}) == []
    assert ended({"c": (disk.job("c"), slow + 1)}) == ["c"]


def test_nobody_is_ended_before_the_others_could_note_how_they_grow(disk: Disk) -> None:
    job = disk.job("a")
    assert not job.is_due(FAST, 5.0)
    assert not job.is_due(FAST, 5.0 + SETTLE_S / 2)
    disk.free = FLOOR
    assert not job.is_due(FAST, 5.0 + SETTLE_S)
    disk.free = 0
    assert not job.is_due(FAST, 6.0)
    assert job.is_due(FAST, 6.0 + SETTLE_S)


def test_what_was_noted_some_time_ago_is_of_a_job_that_was_ended(disk: Disk) -> None:
    gone = disk.job("gone")
    gone.is_due(2 * FAST, 0.0)
    assert ended({"a": (disk.job("a"), FAST)}) == []
    note = disk.folder / "gone" / NOTE
    os.utime(note, (note.stat().st_atime, time.time() - 2 * FRESH_S))
    assert ended({"b": (disk.job("b"), FAST)}) == ["b"]


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DiskFloor(str(tmp_path / "none"), FLOOR, lambda: 0)
