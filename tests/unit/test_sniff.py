from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.errors import UnsafeArchive
from agent.transfer.archive import unpack
from agent.transfer.compress import compressed
from agent.transfer.sniff import as_tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def tar(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def unpacked(archive: bytes, target: Path, limit: int | None = None) -> None:
    with as_tar(io.BytesIO(archive)) as stream:
        unpack(stream, target, limit=limit)


TAR = tar(("a", b"one"), ("d/b", b"two" * 100_000))
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_known_by_its_first_bytes(kind: str, tmp_path: Path) -> None:
    unpacked(KINDS[kind](TAR), tmp_path / "t")
    assert (tmp_path / "t/a").read_bytes() == b"one"
    assert (tmp_path / "t/d/b").read_bytes() == b"two" * 100_000


def test_a_zip_archive_is_unpacked_like_a_tar(tmp_path: Path) -> None:
    program = zipfile.ZipInfo("bin/program")
    program.create_system, program.external_attr = 3, 0o100755 << 16
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    unpacked(zipped(("d/", b""), ("a", b"x" * 700), (program, b"#!"), (link, b"a")), tmp_path / "t")
    assert (tmp_path / "t/a").read_bytes() == b"x" * 700
    assert (tmp_path / "t/d").is_dir()
    assert (tmp_path / "t/bin/program").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "t/link").readlink() == Path("a")


@pytest.mark.parametrize("name", ["../out", "/etc/out", "d/../../out"])
def test_a_zip_archive_cannot_leave_its_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive):
        unpacked(zipped((zipfile.ZipInfo(name), b"x")), tmp_path / "t")


@pytest.mark.parametrize(
    "broken",
    [zipped(("a", b"x" * 999))[:-30], b"PK\x03\x04" + bytes(100), b"\x28\xb5\x2f\xfdxx"],
    ids=["zip, cut off", "zip, empty", "zstd"],
)
def test_a_damaged_archive_is_one_clear_error(broken: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive, match="readable"):
        unpacked(broken, tmp_path / "t")


@pytest.mark.parametrize("kind", ["plain", "zip"])
def test_more_content_than_the_limit_is_refused_before_it_is_written(kind: str, tmp_path: Path) -> None:
    bomb = zipped(("a", bytes(2_000_000))) if kind == "zip" else tar(("a", bytes(2_000_000)))
    unpacked(bomb, tmp_path / "fits", limit=2_000_000)
    with pytest.raises(UnsafeArchive, match="1999999 bytes"):
        unpacked(bomb, tmp_path / "t", limit=1_999_999)
    assert not (tmp_path / "t/a").exists()


def test_compressed_streams_are_what_the_common_tools_write() -> None:
    pieces = [b"a" * 10_000, b"", b"b" * 10_000]
    assert b"".join(compressed(pieces, "none")) == b"".join(pieces)
    assert gzip.decompress(b"".join(compressed(pieces, "gzip"))) == b"".join(pieces)
    assert bz2.decompress(b"".join(compressed(pieces, "bzip2"))) == b"".join(pieces)
    assert lzma.decompress(b"".join(compressed(pieces, "xz"))) == b"".join(pieces)


@pytest.mark.parametrize("damaged", ["with more behind it", "cut off", "not what it begins like"])
def test_a_damaged_zstd_archive_is_refused(damaged: str, tmp_path: Path) -> None:
    body = zstd.compress(TAR)
    kinds = {
        "with more behind it": body + b"more",
        "cut off": body[:-9],
        "not what it begins like": body[:4] + b"x" * 99,
    }
    with pytest.raises(UnsafeArchive):
        unpacked(kinds[damaged], tmp_path / "t")


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    chained = (header.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3000
    with pytest.raises(UnsafeArchive):
        unpacked(chained + TAR, tmp_path / "t")
