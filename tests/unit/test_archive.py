from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent.errors import UnsafeArchive
from agent.transfer.archive import pack, unpack
from agent.transfer.stream import CHUNK


def packed(tree: Path) -> bytes:
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return b"".join(pack(descriptor))
    finally:
        os.close(descriptor)


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        return file.getnames()


def looks(tree: Path) -> dict[bytes, object]:
    """Return what is in a tree: kind, permissions and content by the bytes of the name."""
    found: dict[bytes, object] = {}
    for folder, directories, files in os.walk(tree):
        for name in directories + files:
            path = Path(folder, name)
            info = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            elif path.is_file():
                content = path.read_bytes()
            mode = None if path.is_symlink() else stat.S_IMODE(info.st_mode)
            found[os.fsencode(path.relative_to(tree))] = (stat.S_IFMT(info.st_mode), mode, content)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where archives are unpacked to, beside a file that no archive may reach."""
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "outside").chmod(0o640)
    return tmp_path / "target"


# --- packing --------------------------------------------------------------------------------------------------------


def test_a_tree_comes_back_as_it_was(tree: Path, target: Path) -> None:
    (tree / "sub/deep/er").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "empty").chmod(0o750)
    (tree / "file").write_bytes(b"content")
    (tree / "file").chmod(0o640)
    (tree / "sub/program").write_bytes(b"#!/bin/sh\n")
    (tree / "sub/program").chmod(0o755)
    (tree / "sub/nothing").touch()
    (tree / "sub/link").symlink_to("../file")
    (tree / "dangling").symlink_to("sub/nowhere")
    unpack(io.BytesIO(packed(tree)), target)
    assert looks(target) == looks(tree)


@pytest.mark.parametrize(
    "name",
    [b"x" * 255, b"n\xc3\xa4me", b"\xff\xfe not text", b"a b\tc\nd", b"-rf", b'"quoted"', b"back\\slash"],
    ids=["long", "utf-8", "no text", "white space", "like a flag", "quotes", "backslash"],
)
def test_any_name_comes_back_byte_for_byte(tree: Path, target: Path, name: bytes) -> None:
    (tree / os.fsdecode(name)).write_bytes(b"content")
    (tree / "link").symlink_to(os.fsdecode(name))
    unpack(io.BytesIO(packed(tree)), target)
    assert looks(target) == looks(tree)


def test_a_path_longer_than_a_tar_header_holds_comes_back(tree: Path, target: Path) -> None:
    folder = tree.joinpath(*["d" * 120] * 6)
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"far down")
    unpack(io.BytesIO(packed(tree)), target)
    assert looks(target) == looks(tree)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_files_of_any_size_come_back(tree: Path, target: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tree / "file").write_bytes(content)
    unpack(io.BytesIO(packed(tree)), target)
    assert (target / "file").read_bytes() == content


def test_equal_trees_give_equal_bytes(tmp_path: Path) -> None:
    for name, order in (("one", "abc"), ("two", "cba")):
        for letter in order:
            place = tmp_path / name / letter
            place.mkdir(parents=True)
            os.utime(place, (1000, 1000))
    assert packed(tmp_path / "one") == packed(tmp_path / "two")


def test_no_piece_is_larger_than_a_chunk(tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(5 * CHUNK + 100)
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    sizes = [len(piece) for piece in pack(descriptor)]
    os.close(descriptor)
    assert max(sizes) == CHUNK
    assert sum(sizes) % tarfile.BLOCKSIZE == 0


def test_owners_and_special_files_are_not_packed(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "file").touch()
    archive = packed(tree)
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        assert [(each.name, each.uid, each.gid, each.uname, each.gname) for each in file] == [("file", 0, 0, "", "")]


class Interrupted:
    """A packing during which something happens to the tree, after the header of the first file."""

    def __init__(self, tree: Path, happens: Callable[[], object]) -> None:
        self._tree = tree
        self._happens = happens

    def __iter__(self) -> Iterator[bytes]:
        descriptor = os.open(self._tree, os.O_RDONLY | os.O_DIRECTORY)
        pieces = pack(descriptor)
        yield next(pieces)
        self._happens()
        yield from pieces
        os.close(descriptor)


@pytest.mark.parametrize("change", [b"x" * 5000, b"", b"x" * 1234])
def test_a_file_that_changes_its_size_meanwhile_keeps_the_size_of_its_header(
    tree: Path, target: Path, change: bytes
) -> None:
    for name in ("changing", "later"):
        (tree / name).write_bytes(b"x" * 2000)
    archive = b"".join(Interrupted(tree, lambda: (tree / "changing").write_bytes(change)))
    unpack(io.BytesIO(archive), target)
    assert (target / "changing").read_bytes() == (b"x" * min(len(change), 2000)).ljust(2000, b"\0")
    assert (target / "later").read_bytes() == b"x" * 2000


def test_what_vanishes_meanwhile_is_left_out(tree: Path) -> None:
    for name in ("a", "b", "d"):
        (tree / name).write_bytes(b"content")
    (tree / "c").mkdir()

    def vanish() -> None:
        (tree / "b").unlink()
        (tree / "c").rmdir()

    assert names_in(b"".join(Interrupted(tree, vanish))) == ["a", "d"]


def test_a_link_put_in_place_of_a_file_meanwhile_is_not_followed(tree: Path) -> None:
    for name in ("a", "b"):
        (tree / name).write_bytes(b"content")
    (tree.parent / "secret").write_bytes(b"secret")

    def replace() -> None:
        (tree / "b").unlink()
        (tree / "b").symlink_to("../secret")

    assert b"content" in (archive := b"".join(Interrupted(tree, replace)))
    assert archive.count(b"secret") == 1  # the text of the link


# --- unpacking ------------------------------------------------------------------------------------------------------


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = len(content)
    info.mode = 0o7777
    return info, content


def symlink(name: str, link: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, tarfile.SYMTYPE, link)


def hardlink(name: str, link: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, tarfile.LNKTYPE, link)


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, tarfile.DIRTYPE)


def archive_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    stream.seek(0)
    return stream


HOSTILE = {
    "absolute name": [member("/tmp/evil", content=b"x")],  # noqa: S108 - a name in an archive
    "parent": [member("../evil", content=b"x")],
    "parent further down": [folder("a"), member("a/../../evil", content=b"x")],
    "parent that stays inside": [folder("a"), member("a/../b", content=b"x")],
    "absolute link": [symlink("a", "/etc")],
    "link up": [symlink("a", "../outside")],
    "link up from below": [folder("a"), symlink("a/b", "../../outside")],
    "link that turns": [folder("a"), symlink("a/b", "../a/../../outside")],
    "write through a link": [symlink("a", "."), member("a/evil", content=b"x")],
    "directory below a link": [folder("b"), symlink("a", "b"), folder("a/c")],
    "link through a link": [folder("a"), symlink("a/up", ".."), symlink("b", "a/up/../outside")],
    "hard link up": [hardlink("a", "../outside")],
    "absolute hard link": [hardlink("a", "/etc/passwd")],
    "hard link through a link": [folder("a"), symlink("a/up", ".."), hardlink("b", "a/up/../outside")],
    "hard link to a link": [member("c"), symlink("a", "c"), hardlink("b", "a")],
    "hard link to nothing": [hardlink("a", "b")],
    "hard link to itself": [member("a", content=b"x"), hardlink("a", "a")],
    "hard link to a directory": [folder("b"), hardlink("a", "b")],
    "character device": [member("null", tarfile.CHRTYPE)],
    "block device": [member("disk", tarfile.BLKTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "file in place of a directory": [folder("a"), member("a/b"), member("a", content=b"x")],
    "link in place of a directory": [folder("a"), member("a/b"), symlink("a", ".")],
    "member below a file": [member("a", content=b"x"), member("a/b", content=b"x")],
    "name too long": [member("x" * 300, content=b"x")],
    "path too long": [member("/".join(["x" * 200] * 30), content=b"x")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused_and_touches_nothing_outside(target: Path, name: str) -> None:
    with pytest.raises(UnsafeArchive):
        unpack(archive_of(*HOSTILE[name]), target)
    outside = target.parent / "outside"
    assert sorted(each.name for each in target.parent.iterdir()) == ["outside", "target"]
    assert outside.read_text() == "untouched"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o640
    assert outside.stat().st_nlink == 1


def test_a_name_with_a_nul_byte_is_refused(target: Path) -> None:
    info, _ = member("short")
    info.pax_headers = {"path": "a\0b"}
    with pytest.raises(UnsafeArchive, match="NUL"):
        unpack(archive_of((info, b"")), target)


def test_links_that_stay_inside_are_unpacked(target: Path) -> None:
    members = [folder("a"), member("a/file", content=b"x"), symlink("a/up", "../b"), hardlink("b", "a/file")]
    unpack(archive_of(*members, symlink("dangling", "a/nowhere"), symlink("here", ".")), target)
    assert (target / "a/up").read_bytes() == b"x"
    assert (target / "b").stat().st_ino == (target / "a/file").stat().st_ino
    assert (target / "dangling").readlink() == Path("a/nowhere")


def test_links_that_point_anywhere_come_back_in_an_own_archive_and_are_never_written_through(
    tree: Path, target: Path
) -> None:
    (tree / "python").symlink_to(target.parent / "outside")
    (tree / "up").symlink_to("../..")
    unpack(io.BytesIO(packed(tree)), target, own=True)
    assert looks(target) == looks(tree)
    with pytest.raises(UnsafeArchive):
        unpack(archive_of(symlink("up", "../.."), member("up/new")), target / "deeper", own=True)
    assert not (target.parent / "new").exists()


def test_the_unpacker_owns_everything_and_may_use_it_and_no_special_bit_is_set(target: Path) -> None:
    info, content = member("file", content=b"x")
    closed, _ = folder("closed")
    info.mode, closed.mode = 0o6077, 0
    info.uid = info.gid = closed.uid = closed.gid = 4321
    unpack(archive_of((info, content), (closed, b"")), target)
    assert stat.S_IMODE((target / "file").stat().st_mode) == 0o677
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0o700
    assert {each.stat().st_uid for each in target.iterdir()} == {os.getuid()}


def test_the_last_of_several_members_of_one_name_stays(target: Path) -> None:
    unpack(archive_of(member("a", content=b"one"), symlink("a", "b"), member("a", content=b"two")), target)
    assert (target / "a").read_bytes() == b"two"
    assert not (target / "b").exists()


def test_unpacking_twice_is_unpacking_once(tree: Path, target: Path) -> None:
    (tree / "sub").mkdir()
    (tree / "sub/file").write_bytes(b"content")
    (tree / "link").symlink_to("sub")
    for _ in range(2):
        unpack(io.BytesIO(packed(tree)), target)
    assert looks(target) == looks(tree)


def test_a_link_that_was_there_before_is_not_written_through(target: Path) -> None:
    target.mkdir()
    (target / "file").symlink_to("../outside")
    unpack(archive_of(member("file", content=b"new")), target)
    assert (target.parent / "outside").read_text() == "untouched"
    assert (target / "file").read_bytes() == b"new"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives_are_unpacked(target: Path, compress: Callable[[bytes], bytes]) -> None:
    unpack(io.BytesIO(compress(archive_of(member("a", content=b"x" * 10_000)).read())), target)
    assert (target / "a").read_bytes() == b"x" * 10_000


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_archive_is_refused(target: Path, compress: Callable[[bytes], bytes], share: float) -> None:
    content = random.Random(1).randbytes(100_000)
    whole = compress(archive_of(member("a", content=content)).read())
    with pytest.raises(UnsafeArchive, match="not a readable tar archive"):
        unpack(io.BytesIO(whole[: int(len(whole) * share)]), target)


@pytest.mark.parametrize(
    "garbage", [b"", b"no archive", b"\0" * 300, b"\x1f\x8b\x08garbage", random.Random(2).randbytes(4096)]
)
def test_garbage_is_refused(target: Path, garbage: bytes) -> None:
    with pytest.raises(UnsafeArchive):
        unpack(io.BytesIO(garbage), target)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_archive_unpacks_or_is_refused_and_never_fails_otherwise(target: Path, seed: int) -> None:
    rng = random.Random(seed)
    members = [
        folder("a"),
        member("a/" + "n" * 150, content=b"x" * 700),
        symlink("l", "a"),
        hardlink("h", "a/" + "n" * 150),
    ]
    damaged = bytearray(archive_of(*members).read())
    for _ in range(rng.randint(1, 6)):
        damaged[rng.randrange(min(len(damaged), 6000))] = rng.randrange(256)
    with contextlib.suppress(UnsafeArchive):
        unpack(io.BytesIO(damaged), target)
    assert sorted(each.name for each in target.parent.iterdir()) == ["outside", "target"]


def test_a_disk_that_fails_is_not_blamed_on_the_archive(target: Path) -> None:
    target.parent.joinpath("file").touch()
    with pytest.raises(OSError, match="exists"):
        unpack(archive_of(member("a")), target.parent / "file")
