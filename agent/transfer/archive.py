"""Trees as tar archives: packed as a stream of bounded memory, unpacked only after every member was checked."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tarfile
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from agent.errors import UnsafeArchive
from agent.transfer.beneath import open_directory
from agent.transfer.stream import CHUNK
from agent.transfer.untrusted import members_of, open_tar

log = logging.getLogger(__name__)

_BLOCK = tarfile.BLOCKSIZE
# What opening a member says when the job that still runs has removed or changed it meanwhile, or taken its rights.
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EACCES)
# What tarfile says of damaged bytes; some damage its parser only trips over.
_DAMAGED = (tarfile.TarError, EOFError, TypeError, ValueError)
# What making a member says when members contradict each other, or a name is too long for any file system.
_CONTRADICTORY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG)


class Extra(NamedTuple):
    """A file from elsewhere that becomes the first member of an archive, in place of one of the same name."""

    name: str
    path: Path


def pack(directory: int, extra: Extra | None = None) -> Iterator[bytes]:
    """Yield a tar archive of the directory behind the open descriptor: files, directories, links; nothing else.

    Owners become 0 and names are sorted, so equal trees with equal times give equal bytes. A file that changes its
    size while it is read is cut or padded to the size in its header; what vanishes or may not be read is left out.
    """
    if extra is not None and extra.path.is_file():
        yield from _pack_open(os.open(extra.path, os.O_RDONLY | os.O_CLOEXEC), extra.name)
    yield from _pack_below(directory, "", without=extra.name if extra else None)
    yield bytes(_BLOCK * 2)


def _pack_below(directory: int, prefix: str, without: str | None = None) -> Iterator[bytes]:
    for name in sorted(each for each in os.listdir(directory) if each != without):
        with _left_out_if_changed(prefix + name):
            yield from _pack_member(directory, name, prefix + name)


@contextlib.contextmanager
def _left_out_if_changed(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _CHANGED:
            raise
        log.warning("left out of an archive", extra={"event": "pack-left-out", "path": path, "reason": error.strerror})


def _pack_member(directory: int, name: str, path: str) -> Iterator[bytes]:
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        child = open_directory(directory, name)
        try:
            yield _header(path + "/", info, tarfile.DIRTYPE)
            yield from _pack_below(child, path + "/")
        finally:
            os.close(child)
    elif stat.S_ISLNK(info.st_mode):
        yield _header(path, info, tarfile.SYMTYPE, link=os.readlink(name, dir_fd=directory))
    elif stat.S_ISREG(info.st_mode):
        yield from _pack_file(directory, name, path)


def _pack_file(directory: int, name: str, path: str) -> Iterator[bytes]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    yield from _pack_open(os.open(name, flags, dir_fd=directory), path)


def _pack_open(descriptor: int, path: str) -> Iterator[bytes]:
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


def unpack(stream: BinaryIO, target: Path, *, own: bool = False, limit: int | None = None) -> int:
    """Unpack the tar archive (compressed or not) into `target`, which is made if it is absent.

    limit: bytes that all members together may have; returned is what they had, each at least one block of an archive.

    `own` archives are those that `pack` made of a job's tree: their symbolic links may point anywhere, as they did
    there (a virtual environment is full of such); none is ever followed here.

    Raises UnsafeArchive for a member outside `target`, a link that points outside, or a device node, for members that
    contradict each other or are larger than the limit, and for bytes that are no tar archive. What was unpacked before
    stays: the caller removes the directory.
    """
    target.mkdir(parents=True, exist_ok=True)
    used = 0
    try:
        with open_tar(stream) as archive:
            for member in members_of(archive):
                _check_member(member, own)
                used += max(member.size, _BLOCK)
                if limit is not None and used > limit:
                    raise UnsafeArchive(f"disk budget exhausted: its content is larger than the {limit} bytes left")
                _unpack_member(archive, member, target)
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, *_CONTRADICTORY):
            raise
        raise UnsafeArchive(f"not a readable tar archive: {error}") from None
    return used


def _check_member(member: tarfile.TarInfo, own: bool) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise UnsafeArchive(f'archive member "{member.name}" is no file, directory or link')
    if "\0" in member.name + member.linkname:
        raise UnsafeArchive(f"archive member {member.name!r} has a NUL byte in its name")
    _check_inside(PurePosixPath(member.name), member.name)
    if member.issym() and not own:
        _check_link(member)
    if member.islnk():
        _check_inside(PurePosixPath(member.linkname), member.name)


def _check_inside(path: PurePosixPath, name: str) -> None:
    if path.is_absolute() or ".." in path.parts:
        raise UnsafeArchive(f'archive member "{name}" leads out of its directory')


def _check_link(member: tarfile.TarInfo) -> None:
    """Judge by the text: `..` may lead up to the archive's root, and only at the front.

    Behind a name that is a link itself, `..` would lead elsewhere than the text says.
    """
    parts = PurePosixPath(member.linkname).parts
    below = list(dropwhile(lambda part: part == "..", parts))
    ups, depth = len(parts) - len(below), len(PurePosixPath(member.name).parent.parts)
    if ups > depth or ".." in below or "/" in parts:
        raise UnsafeArchive(f'archive member "{member.name}" is a link that leads out of its directory')


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    place = target / member.name
    _check_parents(member.name, target, member)
    if member.islnk():
        _check_hard_link(member, target)
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    elif place.exists() and not member.isdir():
        raise UnsafeArchive(f'archive member "{member.name}" is a directory, too')
    member.mode = (member.mode & 0o777) | (0o700 if member.isdir() else 0o600)
    member.uid = member.gid = os.getuid()
    archive.extract(member, target, set_attrs=not member.issym(), numeric_owner=True, **_FILTER)


def _check_parents(path: str, target: Path, member: tarfile.TarInfo) -> None:
    """A link member in the path of a later one could lead elsewhere: never go through a symbolic link."""
    if any((target / parent).is_symlink() for parent in PurePosixPath(path).parents if parent.name):
        raise UnsafeArchive(f'archive member "{member.name}" lies below a symbolic link')


def _check_hard_link(member: tarfile.TarInfo, target: Path) -> None:
    """Only to a file of this archive: modes and times of the member are set on whatever it is linked to."""
    _check_parents(member.linkname, target, member)
    source = target / member.linkname
    if source.is_symlink() or not source.is_file() or source == target / member.name:
        raise UnsafeArchive(f'archive member "{member.name}" is a link to "{member.linkname}", no file before it')


# Python 3.12 wants a filter named; the members are checked above, and 3.10 before its last releases knows none.
_FILTER: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
