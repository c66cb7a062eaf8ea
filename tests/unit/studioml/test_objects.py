from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from agent.errors import HostFault, InvalidInput, JobFault, StoreUnavailable
from agent.model.cargo import Access, Cargo
from agent.studioml.objects import Objects, Troubles

from tests.fakes import FakeAccess, FakeArtifacts
from tests.unit.studioml.studio_world import POLICY, RIGHTS, Studio

MOST = 3 * 1024**2


def read(objects: Objects, uri: str, most: int = MOST) -> bytes | None:
    with objects.fetched(uri, most) as file:
        return None if file is None else file.read()


def test_an_object_is_read_and_written(studio: Studio) -> None:
    objects = studio.objects()
    assert read(objects, "mem://brought/a") is None
    objects.write("mem://brought/a", [b"con", b"tent"])
    assert read(objects, "mem://brought/a") == b"content"


@pytest.mark.parametrize("size", [0, 1024**2, 1024**2 + 1, MOST])
def test_a_copy_is_a_file_that_can_be_read_twice_however_large(studio: Studio, size: int) -> None:
    content = os.urandom(size)
    studio.put("mem://brought/a", content)
    with studio.objects().fetched("mem://brought/a", MOST) as file:
        assert file is not None
        assert file.read() == content
        file.seek(0)
        assert file.read(4) == content[:4]
        assert file.seekable()


def test_an_object_that_is_too_large_is_the_jobs_fault(studio: Studio) -> None:
    studio.put("mem://brought/a", bytes(11))
    with pytest.raises(JobFault, match="mem://brought/a: larger than 10 bytes"):
        read(studio.objects(), "mem://brought/a", 10)


def test_rights_on_a_prefix_are_rights_on_what_lies_below(studio: Studio) -> None:
    studio.put("mem://brought/deep/a", b"content")
    assert read(studio.objects(), "mem://brought/deep/a") == b"content"


def test_the_rights_on_the_object_itself_come_first_then_the_longest_prefix(studio: Studio) -> None:
    wrong = Access(access_key="wrong")
    for access in (
        {"mem://brought/": wrong, "mem://brought/deep/": RIGHTS, "mem://brought/deep/a/": wrong},
        {"mem://brought/deep/": wrong, "mem://brought/deep/a": RIGHTS},
    ):
        studio.put("mem://brought/deep/a", b"content")
        assert read(Objects(studio.access, POLICY, Cargo(access=access)), "mem://brought/deep/a") == b"content"


def test_brought_rights_hold_only_where_the_operator_allows_them(studio: Studio) -> None:
    objects = Objects(studio.access, POLICY, Cargo(access={"mem://own/": RIGHTS}))
    with pytest.raises(JobFault, match=r"mem://own/a: not allowed by the \[policy\]"):
        read(objects, "mem://own/a")
    with pytest.raises(JobFault, match=r"mem://own/a: not allowed by the \[policy\]"):
        objects.write("mem://own/a", [b""])


def test_the_agents_own_rights_hold_only_where_the_operator_allows_them(studio: Studio) -> None:
    objects = Objects(studio.access, POLICY, Cargo())
    objects.write("mem://own/a", [b"content"])
    assert read(objects, "mem://own/a") == b"content"
    with pytest.raises(JobFault, match="not allowed"):
        read(objects, "mem://db/a")
    with pytest.raises(JobFault, match="not allowed"):
        objects.write("mem://db/a", [b""])
    with pytest.raises(JobFault, match="not allowed"):
        read(objects, "mem://own/../db/a")


class Breaking(FakeArtifacts):
    """A store whose streams break."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def open(self, uri: str) -> BinaryIO:
        error = self._error

        class Stream(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise error

        return Stream()


def test_what_breaks_on_the_way_says_whose_fault_it_is() -> None:
    access = Cargo(access={"mem://brought/": RIGHTS})
    for error, expected in ((StoreUnavailable("cut off"), StoreUnavailable), (OSError(28, "No space left"), HostFault)):
        objects = Objects(FakeAccess(Breaking(error)), POLICY, access)
        with pytest.raises(expected, match=r"cut off|no copy of it can be made: No space left"):
            read(objects, "mem://brought/a")


def test_a_large_copy_lies_in_the_attempts_directory_and_leaves_nothing(studio: Studio, tmp_path: Path) -> None:
    studio.put("mem://brought/a", bytes(MOST))
    with studio.objects().fetched("mem://brought/a", MOST) as file:
        assert file is not None
        assert os.fstat(file.fileno()).st_dev == tmp_path.stat().st_dev
        assert str(tmp_path) in str(Path(f"/proc/self/fd/{file.fileno()}").readlink())
    assert list(tmp_path.iterdir()) == []


def test_a_large_copy_finds_another_place_when_there_is_no_directory(studio: Studio) -> None:
    studio.put("mem://brought/a", bytes(MOST))
    objects = Objects(studio.access, POLICY, Cargo(access={"mem://brought/": RIGHTS}), studio.directory / "gone")
    assert read(objects, "mem://brought/a") == bytes(MOST)


def test_a_copy_is_closed_with_its_block(studio: Studio) -> None:
    studio.put("mem://brought/a", bytes(MOST))
    with studio.objects().fetched("mem://brought/a", MOST) as file:
        assert file is not None
    assert file.closed


# --- troubles -------------------------------------------------------------------------------------------------------


def test_each_kind_of_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles("s")
    for what in ("record", "record", "reports", "record"):
        with troubles.kept(what):
            raise StoreUnavailable("away")
    told = [(each.__dict__["what"], each.__dict__["sid"], each.__dict__["reason"]) for each in caplog.records]
    assert told == [("record", "s", "away"), ("reports", "s", "away")]


def test_only_the_kinds_that_are_named_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles("s")
    with troubles.kept("results", JobFault, InvalidInput):
        raise InvalidInput("no such scheme")
    with pytest.raises(StoreUnavailable), troubles.kept("results", JobFault, InvalidInput):
        raise StoreUnavailable("away")
    assert len(caplog.records) == 1


def test_a_bug_is_no_trouble() -> None:
    with pytest.raises(ZeroDivisionError), Troubles("s").kept("anything"):
        raise ZeroDivisionError
