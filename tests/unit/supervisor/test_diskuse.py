from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from agent.supervisor.diskuse import PAUSES_S, DiskUse

KIB = 1024


def use(folder: Path, limit: int, *pids: int) -> DiskUse:
    return DiskUse([str(folder)], limit, lambda: pids)


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_files_in_all_depths_count_together(tmp_path: Path) -> None:
    for number in range(10):
        fill(tmp_path / ("d/" * number) / "file", 64 * KIB)
    assert use(tmp_path, 600 * KIB).over()
    assert not use(tmp_path, 800 * KIB).over()


def test_a_place_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert not use(tmp_path / "nothing", 0).over()


def test_a_sparse_file_is_as_large_as_what_was_written(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert not use(tmp_path, 64 * KIB).over()


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "one", 256 * KIB)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert not use(tmp_path, 300 * KIB).over()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "file", 256 * KIB)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "elsewhere")
    assert not use(tmp_path / "work", 128 * KIB).over()


def test_a_removed_file_that_is_written_still_counts_and_one_that_is_read_does_not(tmp_path: Path) -> None:
    for flags, over in ((os.O_RDWR, True), (os.O_RDONLY, False)):
        path = tmp_path / "file"
        fill(path, 256 * KIB)
        descriptor = os.open(path, flags)
        path.unlink()
        assert use(tmp_path, 128 * KIB, os.getpid()).over() is over
        assert not use(tmp_path, 128 * KIB).over()
        os.close(descriptor)


def test_a_large_tree_is_looked_at_in_portions(tmp_path: Path) -> None:
    for number in range(20):
        fill(tmp_path / str(number), 16 * KIB)
    found = use(tmp_path, 300 * KIB)
    assert [found.over(portion=8) for _ in range(3)] == [False, False, True]


def test_a_round_starts_anew_after_the_last_portion(tmp_path: Path) -> None:
    fill(tmp_path / "file", 64 * KIB)
    found = use(tmp_path, 100 * KIB)
    assert [found.over() for _ in range(3)] == [False] * 3
    fill(tmp_path / "more", 64 * KIB)
    assert found.over()


def test_at_the_end_all_is_looked_at_from_the_start(tmp_path: Path) -> None:
    for number in range(20):
        fill(tmp_path / str(number), 16 * KIB)
    found = use(tmp_path, 300 * KIB)
    assert not found.over(portion=3)
    assert found.over_at_end()


@pytest.mark.parametrize(("limit", "pause"), [(100 * KIB, PAUSES_S[0]), (10_000 * KIB, PAUSES_S[1])])
def test_who_writes_fast_is_looked_at_soon(tmp_path: Path, limit: int, pause: float) -> None:
    fill(tmp_path / "file", 64 * KIB)
    found = use(tmp_path, limit)
    assert not found.over()
    assert found.pause_s == pause


def test_the_next_look_comes_soon_when_the_room_of_all_jobs_may_be_gone_soon(tmp_path: Path) -> None:
    for room, pause in ((10 * KIB, PAUSES_S[0]), (100_000 * KIB, PAUSES_S[1])):
        looking = DiskUse([str(tmp_path)], 1 << 40, lambda: (), partial(int, room))
        looking.over()
        fill(tmp_path / str(room), 256 * KIB)
        looking.over()
        assert looking.pause_s == pause


def test_what_lay_there_at_first_has_not_grown(tmp_path: Path) -> None:
    fill(tmp_path / "input", 256 * KIB)
    looking = use(tmp_path, 1 << 40)
    looking.over()
    assert (looking.looks, looking.grown) == (1, 0)
    fill(tmp_path / "output", 64 * KIB)
    looking.over()
    assert (looking.looks, looking.grown) == (2, 64 * KIB)
