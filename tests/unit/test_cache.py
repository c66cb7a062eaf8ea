"""The content cache: made once and whole, kept within its limit, never taken from who uses it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.cache import Cache, key_of, linked, remove
from agent.errors import ArtifactMismatch, HostFault

from tests.fakes import FakeClock
from tests.waiting import wait_until

A, B, C, D = (key_of(name) for name in "abcd")


class Made:
    """A cache of 100 bytes, and what it needs."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.attempts = folder / "attempts"
        self.root = folder / "cache"
        self.limit = 100
        self.cache = self.restarted()

    def restarted(self) -> Cache:
        return Cache(self.root, lambda: self.limit, linked(self.attempts), self.clock)

    def add(self, key: str, size: int = 40) -> Path:
        """Add a file, and let enough time pass that it is not young any more."""
        path = self.cache.add(key, writes(b"x" * size))
        self.clock.advance(1000)
        return path

    def use(self, path: Path, attempt: str = "job.1") -> None:
        """Let an attempt run with this image."""
        (self.attempts / attempt).mkdir(parents=True)
        (self.attempts / attempt / "image").symlink_to(path)

    @property
    def left_in_making(self) -> list[str]:
        return sorted(path.name for path in (self.root / "making").iterdir())


def writes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def fails(error: BaseException) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "half").write_bytes(b"x")
        raise error

    return make


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_what_was_added_is_found_also_after_a_restart(made: Made) -> None:
    assert made.cache.find(A) is None
    path = made.cache.add(A, writes(b"content"))
    assert path.read_bytes() == b"content"
    assert made.cache.find(A) == made.restarted().find(A) == path
    assert made.cache.find(B) is None
    assert made.left_in_making == []


def test_an_entry_that_is_there_is_not_made_again(made: Made) -> None:
    made.cache.add(A, writes(b"first"))
    assert made.cache.add(A, writes(b"second")).read_bytes() == b"first"


def test_an_entry_can_be_a_directory(made: Made) -> None:
    def make(path: Path) -> None:
        (path / "deep").mkdir(parents=True)
        (path / "deep/file").write_bytes(b"x" * 30)

    assert (made.cache.add(A, make) / "deep/file").read_bytes() == b"x" * 30


def test_only_the_agent_may_look_into_it_and_files_are_only_read(made: Made) -> None:
    path = made.cache.add(A, writes(b"x"))
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_each_thread_knows_how_much_it_has_made_itself(made: Made) -> None:
    assert made.cache.made_here == 0
    made.add(A, 40)
    made.add(A, 40)
    made.cache.add(B, lambda path: path.mkdir())  # what is in a directory came in other ways
    assert made.cache.made_here == 40
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(made.cache.made_here))
    thread.start()
    thread.join()
    assert other == [0]


def test_content_wanted_by_several_at_once_is_made_once(made: Made) -> None:
    go_on, makers, got = threading.Event(), [], []

    def make(path: Path) -> None:
        makers.append(path)
        assert go_on.wait(10)
        path.write_bytes(b"x")

    threads = [threading.Thread(target=lambda: got.append(made.cache.add(A, make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: makers, what="one of them makes it")
    other = made.cache.add(B, writes(b"another key does not wait"))
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(makers) == 1
    assert set(got) == {made.cache.find(A)}
    assert len(got) == 5
    assert other.exists()


def test_the_next_one_makes_it_when_a_maker_failed(made: Made) -> None:
    error = ArtifactMismatch("wrong digest")
    with pytest.raises(ArtifactMismatch, match="wrong digest"):
        made.cache.add(A, fails(error))
    assert made.cache.find(A) is None
    assert made.left_in_making == []
    assert made.cache.add(A, writes(b"right")).read_bytes() == b"right"


@pytest.mark.parametrize("in_place", [False, True])
def test_a_full_disk_is_the_hosts_fault_and_leaves_nothing(made: Made, in_place: bool) -> None:
    unused = made.add(B, 10)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(HostFault, match="no space left on device"):
        made.cache.add(A, fails(full), in_place=in_place)
    assert made.cache.find(A) is None
    assert made.left_in_making == []
    # What nobody uses goes at once: the next try finds more room.
    assert not unused.exists()


def test_what_was_used_least_recently_goes_first(made: Made) -> None:
    first, second = made.add(A), made.add(B)
    assert made.cache.find(A) == first
    made.clock.advance(1000)
    third = made.add(C)
    assert [path.exists() for path in (first, second, third)] == [True, False, True]
    assert made.cache.find(B) is None


def test_the_order_of_use_outlives_a_restart(made: Made) -> None:
    first, second = made.add(A), made.add(B)
    assert made.cache.find(A) == first
    made.clock.advance(1000)
    made.cache = made.restarted()
    made.add(C)
    assert (first.exists(), second.exists()) == (True, False)


def test_an_entry_that_an_attempt_uses_stays(made: Made) -> None:
    used = made.add(A)
    made.use(used)
    unused = made.add(B)
    made.add(C)
    assert used.exists()
    assert not unused.exists()
    remove(made.attempts / "job.1")
    made.add(D)
    assert not used.exists()


def test_an_entry_stays_that_is_used_by_a_path_in_it(made: Made) -> None:
    def make(path: Path) -> None:
        (path / "bin").mkdir(parents=True)
        (path / "bin/python").write_bytes(b"x" * 90)

    venv = made.cache.add(A, make, in_place=True)
    made.use(venv / "bin/python")
    made.clock.advance(1000)
    made.add(B)
    assert venv.exists()


def test_an_entry_that_was_just_handed_out_stays_over_the_limit(made: Made) -> None:
    """Its attempt has not said yet that it uses it."""
    paths = [made.cache.add(key, writes(b"x" * 90)) for key in (A, B)]
    assert all(path.exists() for path in paths)
    made.clock.advance(1000)
    made.cache.add(C, writes(b"x"))
    assert sum(path.exists() for path in paths) == 1


def test_room_is_made_before_a_size_that_is_known(made: Made) -> None:
    first = made.add(A)

    def make(path: Path) -> None:
        assert not first.exists()
        path.write_bytes(b"x" * 80)

    made.cache.add(B, make, size=80)


def test_the_limit_is_asked_each_time(made: Made) -> None:
    first = made.add(A)
    made.limit = 10
    made.add(B, 5)
    assert not first.exists()


def test_what_killed_makers_left_is_removed_before_the_next_making(made: Made) -> None:
    kept = made.add(A, 1)
    (made.root / "making/0123").write_bytes(b"half a file")
    (made.root / "making/4567/deep").mkdir(parents=True)
    (made.root / f"making/{B}.mark").touch()
    (made.root / f"entries/{B}").mkdir()
    looking = made.restarted()
    assert looking.find(B) is None
    assert len(made.left_in_making) == 3  # who only looks may be another process beside the one that makes
    looking.add(C, writes(b"x"))
    assert made.left_in_making == []
    assert not (made.root / f"entries/{B}").exists()
    assert kept.exists()


def test_content_that_knows_where_it_lies_is_made_there(made: Made) -> None:
    places = []

    def make(path: Path) -> None:
        places.append(path)
        path.mkdir()
        assert made.restarted().find(A) is None

    assert made.cache.add(A, make, in_place=True) == places[0] == made.cache.find(A)


def test_content_whose_key_its_making_tells_replaces_the_same(made: Made) -> None:
    def make(path: Path) -> str:
        path.write_bytes(b"x" * 30)
        return A

    first = made.cache.put(make)
    assert made.cache.put(make) == first == made.cache.find(A)
    assert made.left_in_making == []


def test_a_directory_that_cannot_be_written_is_the_hosts_fault(made: Made) -> None:
    made.root.write_bytes(b"a file in its place")
    with pytest.raises(HostFault, match=r"cache .* cannot be written: .*not a directory"):
        made.cache.add(A, writes(b"x"))


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "a" * 65, A.upper()])
def test_a_key_is_never_a_path(made: Made, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        made.cache.add(key, writes(b"x"))


def test_keys_differ_where_their_parts_do() -> None:
    assert key_of("a", "b") == key_of("a", "b")
    assert len({key_of("a", "b"), key_of("ab"), key_of("ab", ""), key_of("", "ab")}) == 4
