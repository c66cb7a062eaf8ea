"""Journal: the fake and SQLite."""

from __future__ import annotations

import errno
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.adapters.journal import SCHEMA_VERSION, SqliteJournal
from agent.errors import HostFault
from agent.ports import Journal

from tests.contract.refused_calls import refusing
from tests.fakes import FakeJournal

Reopen = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the journal as the next agent does; the one before was not closed."""
    memory = FakeJournal()
    opened: list[SqliteJournal] = []

    def reopen_file() -> Journal:
        opened.append(SqliteJournal(tmp_path / "journal.db"))
        return opened[-1]

    yield reopen_file if request.param == "sqlite" else lambda: memory
    for journal in opened:
        journal.close()


def test_a_new_journal_is_empty(reopen: Reopen) -> None:
    assert reopen().load() == {}


def test_the_next_agent_finds_what_was_put(reopen: Reopen) -> None:
    reopen().put("a", bytes(range(256)))
    reopen().put("b", b"")
    assert reopen().load() == {"a": bytes(range(256)), "b": b""}


def test_put_replaces(reopen: Reopen) -> None:
    reopen().put("a", b"old")
    reopen().put("a", b"new")
    assert reopen().load() == {"a": b"new"}


def test_removed_is_forgotten_and_twice_is_once(reopen: Reopen) -> None:
    journal = reopen()
    journal.put("a", b"1")
    journal.put("b", b"2")
    journal.remove("a")
    journal.remove("a")
    journal.remove("never there")
    assert reopen().load() == {"b": b"2"}


def test_the_oldest_key_comes_first_and_a_replaced_one_keeps_its_place(reopen: Reopen) -> None:
    journal = reopen()
    for key in ("z", "m", "a", "q"):
        journal.put(key, b"old")
    journal.put("m", b"new")
    journal.remove("z")
    journal.remove("q")
    journal.put("z", b"again")
    journal.put("b", b"last")
    assert list(reopen().load()) == ["m", "a", "z", "b"]


def test_many_threads_may_write_at_once(reopen: Reopen) -> None:
    journal = reopen()
    keys = [f"{thread}-{number}" for thread in range(8) for number in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: journal.put(key, key.encode()), keys))
        list(pool.map(journal.remove, keys[::2]))
    assert reopen().load() == {key: key.encode() for key in keys[1::2]}


# --- what only a file can do ---


WRITER = """
import sys
from pathlib import Path
from agent.adapters.journal import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]))
n = 0
while True:
    journal.put(f"key-{n}", b"x" * 500)
    print(n, flush=True)
    n += 1
"""


def test_what_was_put_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for killed_after in (1, 40, 300):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout as acknowledged:
            for _ in range(killed_after):
                acknowledged.readline()
            writer.kill()
            rest = acknowledged.read().decode().splitlines(keepends=True)
        writer.wait()
        count = killed_after + sum(line.endswith("\n") for line in rest)
        journal = SqliteJournal(path)
        found = journal.load()
        assert [f"key-{n}" for n in range(count)] == list(found)[:count]
        assert set(found.values()) == {b"x" * 500}
        for key in found:
            journal.remove(key)
        journal.close()


def spoiled(path: Path, content: bytes) -> None:
    """Leave a journal with one entry, and then `content` in the place of its file's first bytes."""
    journal = SqliteJournal(path)
    journal.put("a", b"x" * 100_000)
    journal.close()
    with path.open("r+b") as file:
        file.write(content)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 30_000])
def test_a_damaged_file_is_moved_aside_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.db"
    for n in (1, 2):
        spoiled(path, content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            journal = SqliteJournal(path)
        assert journal.load() == {}
        journal.put("b", b"works")
        journal.close()
        aside = tmp_path / f"journal.db.corrupt-{n}"
        assert aside.read_bytes().startswith(content)
        assert [record.__dict__["moved_to"] for record in caplog.records] == [str(aside)]
        assert "moved aside" in caplog.text
    reopened = SqliteJournal(path)
    assert reopened.load() == {"b": b"works"}
    reopened.close()


def test_a_page_that_is_damaged_in_the_middle_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    for n in range(200):
        journal.put(f"key-{n}", b"x" * 1000)
    journal.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    reopened = SqliteJournal(path)
    assert reopened.load() == {}
    reopened.close()
    assert (tmp_path / "journal.db.corrupt-1").exists()


def test_a_journal_of_a_later_release_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(HostFault, match=r"journal.db: of a later release .*install that release again"):
        SqliteJournal(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match=r"none/journal.db: .*check that its directory exists"):
        SqliteJournal(tmp_path / "none/journal.db")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_is_a_host_fault_and_harms_no_other_entry(tmp_path: Path, number: int) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.put("a", b"kept")
    with pytest.raises(HostFault, match=r"journal.db: .*neither full nor failing"):
        refusing({"pwrite": number}, lambda: journal.put("b", b"lost"))
    assert journal.load() == {"a": b"kept"}
    journal.put("c", b"works again")
    assert journal.load() == {"a": b"kept", "c": b"works again"}
    journal.close()


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.close()
    with pytest.raises(HostFault):
        journal.put("a", b"")


def test_a_write_that_cannot_be_synced_does_not_pass_for_durable(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.put("a", b"1")
    with pytest.raises(HostFault):
        refusing({"fdatasync": errno.EIO, "fsync": errno.EIO}, lambda: journal.put("b", b"2"))
    journal.close()


def test_a_journal_in_trouble_says_why_until_a_write_is_synced_again(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    broken = {"fdatasync": errno.EIO, "fsync": errno.EIO}
    assert refusing(broken, journal.trouble) is None, "it has not written yet"
    with pytest.raises(HostFault) as raised:
        refusing(broken, lambda: journal.put("a", b"1"))
    assert refusing(broken, journal.trouble) == str(raised.value)
    assert refusing({"pwrite": errno.EROFS}, journal.trouble) == str(raised.value), "the first reason stays"
    assert journal.trouble() is None
    journal.put("b", b"2")
    assert journal.load()["b"] == b"2"
    journal.close()
