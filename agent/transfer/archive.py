"""Trees as tar archives: packed as a stream of bounded memory, unpacked only after every member was checked."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from agent.errors import UnsafeArchive
from agent.transfer.beneath import open_directory
from agent.transfer.stream import CHUNK

_BLOCK = tarfile.BLOCKSIZE


def pack(directory: int) -> Iterator[bytes]:
    """Yield a tar archive of the directory behind the open descriptor: files, directories, links; nothing else.

    Owners become 0 and names are sorted, so equal trees with equal times give equal bytes. A file that changes its
    size while it is read is cut or padded to the size in its header.
    """
    yield from _pack_below(directory, "")
    yield bytes(_BLOCK * 2)


def _pack_below(directory: int, prefix: str) -> Iterator[bytes]:
    for name in sorted(os.listdir(directory)):
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        path = prefix + name
        if stat.S_ISDIR(info.st_mode):
            yield _header(path + "/", info, tarfile.DIRTYPE)
            child = open_directory(directory, name)
            try:
                yield from _pack_below(child, path + "/")
            finally:
                os.close(child)
        elif stat.S_ISLNK(info.st_mode):
            yield _header(path, info, tarfile.SYMTYPE, link=os.readlink(name, dir_fd=directory))
        elif stat.S_ISREG(info.st_mode):
            yield from _pack_file(directory, name, path)


def _pack_file(directory: int, name: str, path: str) -> Iterator[bytes]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        yield _header(path, info, tarfile.REGTYPE)
        left = info.st_size
        while left and (piece := file.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece
    yield from _zeros(left + -info.st_size % _BLOCK)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, CHUNK))
        count -= CHUNK


def _header(path: str, info: os.stat_result, kind: bytes, link: str = "") -> bytes:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = stat.S_IMODE(info.st_mode)
    member.mtime = int(info.st_mtime)
    member.size = info.st_size if kind == tarfile.REGTYPE else 0
    member.linkname = link
    return member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


def unpack(stream: BinaryIO, target: Path) -> None:
    """Unpack the tar archive (compressed or not) into `target`, which is made if it is absent.

    Raises UnsafeArchive for a member outside `target`, a link that points outside, or a device node, and for bytes
    that are no tar archive. What was unpacked before stays: the caller removes the directory.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                _check_member(member)
                _unpack_member(archive, member, target)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnsafeArchive(f"not a readable tar archive: {error}") from None


def _check_member(member: tarfile.TarInfo) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise UnsafeArchive(f'archive member "{member.name}" is no file, directory or link')
    _check_inside(member.name, member.name)
    if member.issym():
        _check_inside(str(PurePosixPath(member.name).parent / member.linkname), member.name)
    if member.islnk():
        _check_inside(member.linkname, member.name)


def _check_inside(path: str, name: str) -> None:
    """Judge by the text of the path: links inside the archive may only point inside, so nothing leads out later."""
    depth = 0
    for part in PurePosixPath(path).parts:
        depth += -1 if part == ".." else 1
        if part == "/" or depth < 0:
            raise UnsafeArchive(f'archive member "{name}" leads out of its directory')


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    place = target / member.name
    # A link member in the path of a later one could lead elsewhere: never write through a symbolic link.
    for parent in place.relative_to(target).parents:
        if (target / parent).is_symlink():
            raise UnsafeArchive(f'archive member "{member.name}" lies below a symbolic link')
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    member.mode = (member.mode & 0o777) | (0o700 if member.isdir() else 0o600)
    member.uid = member.gid = os.getuid()
    archive.extract(member, target, set_attrs=not member.issym(), numeric_owner=True, **_FILTER)


# Python 3.12 wants a filter named; the members are checked above, and 3.10 before its last releases knows none.
_FILTER: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
