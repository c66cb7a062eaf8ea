"""Inputs on the real path: kept ones come from the cache, all share one budget, hostile ones end their job."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from agent.cache import Cache
from agent.model.cargo import Access, Cargo
from agent.model.job import Image, parse_job
from agent.model.records import Outcome

from tests.fakes import FakeAccess, FakeArtifacts
from tests.faults import Between
from tests.worlds import IMAGE, World, world

KIB, MIB = 1024, 1024**2


class Counted:
    """Counts what is read of the artifacts behind it."""

    def __init__(self, artifacts: FakeArtifacts) -> None:
        self.store = Between(artifacts, open=self._open)
        self.opened: list[str] = []
        self.read = 0
        self._artifacts = artifacts

    def _open(self, uri: str) -> BinaryIO:
        self.opened.append(uri)
        return io.BufferedReader(_Counting(self, self._artifacts.open(uri)))


class _Counting(io.RawIOBase):
    def __init__(self, counter: Counted, stream: BinaryIO) -> None:
        self._counter, self._stream = counter, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        self._counter.read += len(piece)
        return len(piece)


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path)
    made.change(cache=Cache(tmp_path / "cache", lambda: 100 * MIB, lambda: (), made.clock))
    return made


@pytest.fixture
def counted(made: World) -> Counted:
    counter = Counted(made.stores.artifacts)
    made.change(access=FakeAccess(counter.store))
    return counter


def run(made: World, script: str, *inputs: dict[str, Any], cargo: Cargo | None = None, disk: int = 10 * MIB) -> str:
    """Run a job that has these inputs; return its id."""
    sid = made.submit(script, inputs=list(inputs), outputs=[{"path": "out"}], requires={"disk": disk})
    if cargo is not None:
        made.cargo[sid] = cargo
    made.run_one()
    return sid


def ended(made: World, sid: str) -> tuple[Outcome, str]:
    """Return how the job ended, and what its owner reads."""
    return made.commit(sid).outcome, made.artifact(sid, "log").decode(errors="replace")


def kept_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def member(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=target)


# --- kept inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpack", [False, True])
def test_a_kept_input_is_fetched_once_for_all_jobs(made: World, counted: Counted, unpack: bool, tmp_path: Path) -> None:
    content = tar_of(member("word", b"same")) if unpack else b"same"
    item = {"uri": made.stores.put_artifact("a", content), "path": "data", "unpack": unpack}
    script = "cat data/word > out" if unpack else "cat data > out"
    for _ in range(2):
        sid = run(made, script, item, cargo=Cargo(kept=("data",)))
        assert made.artifact(sid, "outputs/out") == b"same"
    assert counted.opened == [item["uri"]]
    assert [path.read_bytes() for path in kept_files(tmp_path)] == [content]


def test_a_kept_input_moves_nothing_for_the_next_job(made: World) -> None:
    item = {"uri": made.stores.put_artifact("a", b"x" * 900), "path": "data"}
    used = [made.commit(run(made, "true", item, cargo=Cargo(kept=("data",)))).usage for _ in range(2)]
    assert [each.bytes_in for each in used if each is not None] == [900, 0]


def test_an_image_counts_for_the_job_that_it_was_fetched_for(made: World) -> None:
    cache, images = made.context.cache, made.context.images
    assert cache is not None

    def kept(image: Image, cargo: Cargo) -> Path:
        path = images.fetch(image, cargo)
        return cache.add("a" * 64, lambda place: shutil.copy(path, place))

    size = images.fetch(parse_job({"image": IMAGE}).image_for("amd64") or Image("")).stat().st_size
    made.change(images=Between(images, fetch=kept))
    used = [made.commit(run(made, "true")).usage for _ in range(2)]
    assert [each.bytes_in for each in used if each is not None] == [size, 0]


def test_any_other_input_is_fetched_for_each_job(made: World, counted: Counted, tmp_path: Path) -> None:
    item = {"uri": made.stores.put_artifact("a", b"one"), "path": "data"}
    run(made, "true", item, cargo=Cargo(kept=("other",)))
    made.stores.put_artifact("a", b"two")
    sid = run(made, "cat data > out", item, cargo=Cargo(kept=("other",)))
    assert made.artifact(sid, "outputs/out") == b"two"
    assert len(counted.opened) == 2
    assert kept_files(tmp_path) == []


def test_a_job_can_change_its_copy_but_never_the_one_that_is_kept(made: World, tmp_path: Path) -> None:
    item = {"uri": made.stores.put_artifact("a", b"same"), "path": "data"}
    cargo = Cargo(kept=("data",))
    spoil = "ls -l data > out; echo evil > data && chmod 777 data"
    assert made.commit(run(made, spoil, item, cargo=cargo)).outcome is Outcome.SUCCEEDED
    sid = run(made, "cat data > out", item, cargo=cargo)
    assert made.artifact(sid, "outputs/out") == b"same"
    assert [path.stat().st_mode & 0o777 for path in kept_files(tmp_path)] == [0o444]


def test_the_cache_gives_nobody_what_he_may_not_read(made: World) -> None:
    item = {"uri": made.stores.put_artifact("a", b"private"), "path": "data"}
    rights, access = Access(access_key="owner"), FakeAccess(made.stores.artifacts)
    access.private[item["uri"]] = rights
    made.change(access=access)
    owner = run(made, "true", item, cargo=Cargo(kept=("data",), access={item["uri"]: rights}))
    assert made.commit(owner).outcome is Outcome.SUCCEEDED
    stranger = run(made, "cat data > out", item, cargo=Cargo(kept=("data",), access={item["uri"]: Access()}))
    assert ended(made, stranger)[0] is Outcome.FAILED


def test_a_kept_input_with_another_digest_is_not_kept(made: World, tmp_path: Path) -> None:
    item = {"uri": made.stores.put_artifact("a", b"changed"), "path": "data", "sha256": "0" * 64}
    outcome, words = ended(made, run(made, "true", item, cargo=Cargo(kept=("data",))))
    assert outcome is Outcome.FAILED
    assert "the job promises 0000" in words
    assert kept_files(tmp_path) == []


def test_a_kept_input_that_is_larger_than_the_cache_passes_by_it(made: World, tmp_path: Path) -> None:
    made.change(cache=Cache(tmp_path / "cache", lambda: 10, lambda: (), made.clock))
    item = {"uri": made.stores.put_artifact("a", b"x" * 11), "path": "data"}
    assert made.commit(run(made, "true", item, cargo=Cargo(kept=("data",)))).outcome is Outcome.SUCCEEDED
    assert kept_files(tmp_path) == []


def test_a_kept_input_may_be_optional(made: World) -> None:
    item = {"uri": "mem://in/none", "path": "data", "unpack": True}
    sid = run(made, "ls -a data > out", item, cargo=Cargo(kept=("data",), optional=("data",)))
    assert made.artifact(sid, "outputs/out").split() == [b".", b".."]


# --- the budget -----------------------------------------------------------------------------------------------------


def test_all_inputs_share_one_budget(made: World) -> None:
    items = [{"uri": made.stores.put_artifact(name, bytes(600 * KIB)), "path": name} for name in "ab"]
    for each in items:
        assert made.commit(run(made, "true", each, disk=1200 * KIB)).outcome is Outcome.SUCCEEDED
    assert made.commit(run(made, "true", *items, disk=1200 * KIB)).outcome is Outcome.SUCCEEDED
    outcome, words = ended(made, run(made, "true", *items, disk=1200 * KIB - 1))
    assert outcome is Outcome.FAILED
    assert "disk budget exhausted" in words


@pytest.mark.parametrize("warm", [False, True])
def test_a_kept_input_counts_the_same_from_the_cache(made: World, warm: bool) -> None:
    archive = tar_of(member("a", bytes(100 * KIB)))
    item = {"uri": made.stores.put_artifact("a", archive), "path": "data", "unpack": True}
    cargo, needed = Cargo(kept=("data",)), len(archive) + 100 * KIB
    if warm:
        run(made, "true", item, cargo=cargo)
    outcome, words = ended(made, run(made, "true", item, cargo=cargo, disk=needed - 1))
    assert outcome is Outcome.FAILED
    assert "disk budget exhausted" in words
    assert made.commit(run(made, "true", item, cargo=cargo, disk=needed)).outcome is Outcome.SUCCEEDED


def test_a_download_stops_when_the_budget_is_used_up(made: World, counted: Counted) -> None:
    item = {"uri": made.stores.put_artifact("a", bytes(50 * MIB)), "path": "data"}
    outcome, words = ended(made, run(made, "true", item, disk=MIB))
    assert outcome is Outcome.FAILED
    assert "disk budget exhausted" in words
    assert counted.read <= 3 * MIB


def test_an_optional_input_that_is_too_large_ends_the_job_too(made: World) -> None:
    item = {"uri": made.stores.put_artifact("a", bytes(2 * MIB)), "path": "data"}
    outcome, words = ended(made, run(made, "true", item, cargo=Cargo(optional=("data",)), disk=MIB))
    assert outcome is Outcome.FAILED
    assert "disk budget exhausted" in words


# --- hostile archives -----------------------------------------------------------------------------------------------


def zipped(*members: tuple[str, bytes], kind: int = 0) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, (kind | 0o644) << 16
            archive.writestr(info, content)
    return packed.getvalue()


def sparse_giant() -> bytes:
    """Return an archive of one file of a terabyte, all hole, in the old GNU form."""
    info = tarfile.TarInfo("giant")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"\x80" + bytes(3) + (10**12).to_bytes(8, "big")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def many_empty_files(count: int) -> bytes:
    return b"".join(tarfile.TarInfo(f"{number}").tobuf() for number in range(count)) + bytes(1024)


def long_name(size: int) -> bytes:
    """Return an archive that announces a name of so many bytes, which a careless reader takes into memory."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "up": lambda: tar_of(member("../evil")),
    "up from below": lambda: tar_of(member("a/../../evil")),
    "absolute": lambda: tar_of(member("/edge-agent-evil")),
    "link out": lambda: tar_of(link("out", "../..")),
    "absolute link": lambda: tar_of(link("out", "/etc")),
    "file through a link": lambda: tar_of(link("inner", "."), member("inner/evil")),
    "hard link out": lambda: tar_of(link("passwd", "../../../../etc/passwd", tarfile.LNKTYPE)),
    "hard link to a link": lambda: tar_of(link("a", "b"), link("c", "a", tarfile.LNKTYPE)),
    "character device": lambda: tar_of(member("null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": lambda: tar_of(member("disk", b"", type=tarfile.BLKTYPE, devmajor=8, devminor=0)),
    "fifo": lambda: tar_of(member("pipe", b"", type=tarfile.FIFOTYPE)),
    "sparse giant": sparse_giant,
    "bomb": lambda: gzip.compress(tar_of(member("zeros", bytes(12 * MIB)))),
    "bomb in bzip2": lambda: bz2.compress(tar_of(member("zeros", bytes(12 * MIB)))),
    "zip bomb": lambda: zipped(("zeros", bytes(12 * MIB))),
    "zip up": lambda: zipped(("../evil", b"x")),
    "zip absolute": lambda: zipped(("/edge-agent-evil", b"x")),
    "zip with a huge link": lambda: zipped(("link", b"a/" * 6 * MIB), kind=0o120000),
    "huge name": lambda: gzip.compress(long_name(10**12) + bytes(12 * MIB)),
    "cut off": lambda: tar_of(member("a", os.urandom(9000)))[:5000],
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_ends_its_job_and_nothing_else(made: World, name: str, kept: bool, tmp_path: Path) -> None:
    item = {"uri": made.stores.put_artifact("a", HOSTILE[name]()), "path": "data", "unpack": True}
    before = sorted(tmp_path.iterdir())
    sid = run(made, "echo ran > out", item, cargo=Cargo(kept=("data",) if kept else ()))
    outcome, words = ended(made, sid)
    assert outcome is Outcome.FAILED
    assert words.startswith("failed when downloading user data\n")
    assert "outputs/out" not in made.artifact_names(sid)
    assert made.leftovers() == []
    assert sorted(path for path in tmp_path.iterdir() if path.name != "cache") == before
    assert not Path("/edge-agent-evil").exists()


def test_very_many_empty_files_take_space_too(made: World) -> None:
    item = {"uri": made.stores.put_artifact("a", gzip.compress(many_empty_files(2000))), "path": "data", "unpack": True}
    outcome, words = ended(made, run(made, "true", item, disk=MIB // 2))
    assert outcome is Outcome.FAILED
    assert "disk budget exhausted" in words


ODD_NAMES = (
    "with space",
    "quote'quote\"",
    "line\nbreak",
    "$(touch evil)",
    "-rf",
    "ünïcode",
    "a" * 200,
    "back\\slash",
    "*",
)


def test_odd_names_are_names_like_all_others(made: World) -> None:
    archive = tar_of(*(member(f"{name}/{name}", name.encode()) for name in ODD_NAMES))
    item = {"uri": made.stores.put_artifact("a", archive), "path": "the 'data'", "unpack": True}
    sid = run(made, "cd \"the 'data'\" && cat ./*/* > ../out", item)
    assert sorted(made.artifact(sid, "outputs/out")) == sorted("".join(ODD_NAMES).encode())
