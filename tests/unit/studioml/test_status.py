from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from agent.errors import JobFault
from agent.studioml import status
from agent.studioml.status import stop_wanted
from backports import zstd

from tests.unit.studioml.studio_world import KEY, STATUS, Studio

STOPPED = json.dumps({"key": KEY, "status": "Stopped"}).encode()
RUNNING = json.dumps({"key": KEY, "status": "running"}).encode()


def packed(*members: tuple[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, content)
    return archive.getvalue()


def wanted(studio: Studio, body: bytes) -> bool:
    studio.put(STATUS, body)
    return stop_wanted(studio.objects(), STATUS)


def test_an_artifact_that_is_not_there_asks_for_nothing(studio: Studio) -> None:
    assert not stop_wanted(studio.objects(), STATUS)


@pytest.mark.parametrize(("content", "expected"), [(STOPPED, True), (RUNNING, False), (b"{}", False), (b"[]", False)])
def test_the_status_is_in_a_file_bare_or_in_an_archive(studio: Studio, content: bytes, expected: bool) -> None:
    if content.startswith(b"{"):
        assert wanted(studio, content) is expected
        assert wanted(studio, b"\n  " + content) is expected
    assert wanted(studio, packed(("status.json", content))) is expected
    assert wanted(studio, packed(("other", b"x"), ("./_status/status.json", content))) is expected


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_archives_of_all_kinds_are_read(studio: Studio, compress: Callable[[bytes], bytes]) -> None:
    assert wanted(studio, compress(packed(("status.json", STOPPED))))


def test_a_zip_archive_is_read(studio: Studio) -> None:
    assert wanted(studio, zipped("_status/status.json", STOPPED))
    assert not wanted(studio, zipped("status.json", RUNNING))


def test_an_archive_without_the_file_asks_for_nothing(studio: Studio) -> None:
    assert not wanted(studio, packed(("other.json", STOPPED), ("status.json.bak", STOPPED)))


def link_to_itself() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("status.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    return archive.getvalue()


def names_without_end() -> bytes:
    """Headers that say how the member after them is called, and no member."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    return (header.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")) * 5000


def name_of_gigabytes() -> bytes:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 1024**3
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(5120)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"{",
        b"{" + b"\xff",
        b'{"a":' * 100_000,
        packed(("status.json", b"{")),
        packed(("status.json", b"\xff")),
        packed(("status.json", STOPPED))[:540],
        gzip.compress(packed(("status.json", STOPPED)))[:60],
        gzip.compress(b"garbage" * 1000),
        zipped("status.json", STOPPED)[:40],
        names_without_end(),
        name_of_gigabytes(),
    ],
    ids=itertools.count(),
)
def test_what_is_damaged_or_hostile_is_the_jobs_fault(studio: Studio, body: bytes) -> None:
    with pytest.raises(JobFault, match=STATUS):
        wanted(studio, body)


def test_a_link_is_no_status_file(studio: Studio) -> None:
    assert not wanted(studio, link_to_itself())


def test_a_status_file_is_read_up_to_its_largest_size_only(studio: Studio) -> None:
    with pytest.raises(JobFault, match="not JSON"):
        wanted(studio, packed(("status.json", STOPPED[:-1] + b" " * 100_000 + b"}")))


def test_an_archive_is_no_larger_inside_than_outside(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "LARGEST", 50_000)
    for members in ([("big", bytes(60_000))], [(f"empty{number}", b"") for number in range(200)]):
        with pytest.raises(JobFault, match="larger than 50000 bytes"):
            wanted(studio, gzip.compress(packed(*members, ("status.json", STOPPED))))
    with pytest.raises(JobFault, match="larger than 50000 bytes"):
        wanted(studio, packed(("big", bytes(60_000))))
