"""Reserve: the fake and a file on a small disk; and what the journal and records make of it when that disk is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.adapters.files import FileRecords
from agent.adapters.journal import SqliteJournal
from agent.adapters.reserve import FILE, FileReserve
from agent.errors import DiskFull, StoreUnavailable

from tests.disks import MIB, fill, needs_root, small_disk
from tests.fakes import FakeReserve

SIZE = 2 * MIB
SPARE = MIB // 2


class Disk:
    """A reserve with its disk: full, and free again, at a word."""

    def __init__(self, reserve: FileReserve | FakeReserve, place: Path | None) -> None:
        self.reserve = reserve
        self._place = place

    def fill(self) -> None:
        if isinstance(self.reserve, FakeReserve):
            self.reserve.used += self.reserve.free()
        elif self._place is not None:
            fill(self._place)

    def clear(self) -> None:
        if isinstance(self.reserve, FakeReserve):
            self.reserve.used = 0
        elif self._place is not None:
            (self._place / "filler").unlink()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 16 * MIB) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("file", marks=needs_root)])
def disk(request: pytest.FixtureRequest) -> Disk:
    if request.param == "memory":
        return Disk(FakeReserve(SIZE, 8 * SIZE), None)
    place = request.getfixturevalue("place")
    return Disk(FileReserve(place, SIZE), place)


def test_it_is_made_once_and_given_up_by_parts_when_there_is_no_room_only(disk: Disk) -> None:
    before = disk.reserve.free()
    assert disk.reserve.keep(SPARE)
    assert disk.reserve.keep(SPARE)
    assert before - disk.reserve.free() == pytest.approx(SIZE, abs=64 * 1024)
    assert not disk.reserve.give(), "there is room"
    disk.fill()
    assert disk.reserve.free() < 64 * 1024
    assert disk.reserve.give()
    assert disk.reserve.free() >= SIZE // 16
    assert not disk.reserve.keep(SPARE), "not whole any more"
    disk.clear()
    assert disk.reserve.keep(SPARE)


def test_it_comes_to_an_end(disk: Disk) -> None:
    assert disk.reserve.keep(SPARE)
    given = 0
    while True:
        disk.fill()
        if not disk.reserve.give():
            break
        given += 1
    assert given == 16
    assert not disk.reserve.keep(0)


def test_a_part_may_be_left_to_others(disk: Disk) -> None:
    assert disk.reserve.keep(SPARE)
    given = 0
    while True:
        disk.fill()
        if not disk.reserve.give(least=SIZE // 2):
            break
        given += 1
    assert given == 8
    assert disk.reserve.give()


def test_none_is_made_that_would_fill_the_disk(disk: Disk) -> None:
    disk.fill()
    assert not disk.reserve.keep(0)
    assert disk.reserve.free() < 64 * 1024


@needs_root
def test_on_a_disk_that_cannot_be_written_it_is_not_whole_and_nothing_breaks(place: Path) -> None:
    reserve = FileReserve(place / "gone", SIZE)
    assert not reserve.keep(0)
    assert not reserve.give()


def put_without_end(journal: SqliteJournal, kept: dict[str, bytes], place: Path) -> None:
    """Put entries, each noted in `kept` once the journal has it, while something else takes all room there is."""
    for number in range(200):
        journal.put(f"key-{number}", b"x" * 50_000)
        kept[f"key-{number}"] = b"x" * 50_000
        fill(place)


@needs_root
def test_the_journal_lives_on_the_reserve_of_a_full_disk_and_knows_when_that_is_used_up(place: Path) -> None:
    reserve = FileReserve(place, SIZE)
    journal = SqliteJournal(place / "journal", reserve.give)
    journal.put("before", b"1")
    assert reserve.keep(SPARE)
    fill(place)
    kept = {"before": b"1"}
    with pytest.raises(DiskFull):
        put_without_end(journal, kept, place)
    assert len(kept) > 5
    assert (place / FILE).stat().st_size == 0
    assert journal.load() == kept
    (place / "filler").unlink()
    journal.put("after", b"2")
    assert SqliteJournal(place / "journal").load() == {**kept, "after": b"2"}


@needs_root
def test_an_agent_starts_on_a_full_disk(place: Path) -> None:
    reserve = FileReserve(place, SIZE)
    SqliteJournal(place / "journal").close()
    assert reserve.keep(SPARE)
    fill(place)
    assert SqliteJournal(place / "journal", reserve.give).load() == {}
    fill(place)
    with pytest.raises(DiskFull):
        SqliteJournal(place / "other")


@needs_root
def test_on_a_read_only_disk_nothing_is_free(place: Path) -> None:
    reserve = FileReserve(place, SIZE)
    assert reserve.keep(SPARE)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    assert reserve.free() == 0
    assert not reserve.give()


@needs_root
def test_records_of_a_store_on_the_same_disk_live_on_it_too(place: Path) -> None:
    reserve = FileReserve(place, SIZE)
    records = FileRecords.make(place / "store", reserve.give)
    assert reserve.keep(SPARE)
    fill(place)
    with pytest.raises(StoreUnavailable, match="no space left"):
        FileRecords(place / "store").put("job/commit", b"x" * 100_000)
    assert records.put("job/commit", b"x" * 100_000, create=True)
    stored = records.get("job/commit")
    assert stored is not None
    assert len(stored.body) == 100_000
