"""What kind of archive a file is, by its first bytes: names lie."""

from __future__ import annotations

import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from agent.errors import UnsafeArchive
from agent.transfer.stream import chunks

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_LINK = 4095  # bytes, as the kernel has it
_UNIX = 3  # create_system of members whose external attributes are a Unix mode
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error)


@contextmanager
def as_tar(archive: BinaryIO) -> Iterator[Any]:
    """Give the archive, a seekable file, as a stream that tarfile reads: tar as it is or compressed, zstd, zip.

    Reading raises UnsafeArchive for a zip or zstd archive that is damaged or encrypted.
    """
    start = archive.read(4)
    archive.seek(0)
    if start == _ZSTD:
        yield _Reader(_content_of_zstd(archive))
    elif start in _ZIP:
        yield _Reader(_tar_of_zip(archive))
    else:
        yield archive


def _content_of_zstd(archive: BinaryIO) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        with zstd.open(archive, "rb") as stream:
            yield from chunks(stream)  # type: ignore[arg-type]
    except (zstd.ZstdError, EOFError) as error:
        raise UnsafeArchive(f"not a readable zstd archive: {error}") from None


def _tar_of_zip(archive: BinaryIO) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                yield from _member(source, info)
    except _DAMAGED as error:
        raise UnsafeArchive(f"not a readable zip archive: {error}") from None
    yield bytes(tarfile.BLOCKSIZE * 2)


def _member(source: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    member = tarfile.TarInfo(info.filename)
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    member.mode = stat.S_IMODE(mode) or (0o755 if info.is_dir() else 0o644)
    if info.is_dir():
        member.type = tarfile.DIRTYPE
        yield _header(member)
    elif stat.S_ISLNK(mode):
        member.type = tarfile.SYMTYPE
        member.linkname = _target(source, info)
        yield _header(member)
    else:
        member.size = info.file_size
        yield _header(member)
        with source.open(info) as content:
            yield from chunks(content)  # type: ignore[arg-type]
        yield bytes(-info.file_size % tarfile.BLOCKSIZE)


def _target(source: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with source.open(info) as content:
        target = content.read(_MOST_LINK + 1)
    if len(target) > _MOST_LINK:
        raise UnsafeArchive(f'archive member "{info.filename}" is a link with a target longer than any path')
    return target.decode("utf-8", errors="surrogateescape")


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


class _Reader:
    """Chunks as a file that can be read once."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        pieces, missing = [self._rest], size - len(self._rest)
        while missing > 0 and (piece := next(self._source, None)) is not None:
            pieces.append(piece)
            missing -= len(piece)
        found = b"".join(pieces)
        self._rest = found[size:]
        return found[:size]
