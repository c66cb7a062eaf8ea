"""Making files appear whole and durably: the steps that records and artifacts share. All raise OSError."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
_NO_FLAG = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)
# Some network and user-space file systems cannot sync a directory; their server decides what is durable.
_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP)


class NoAtomicCreate(OSError):
    """The file system knows neither hard links nor a rename that does not replace."""


def place_new(temp: Path, target: Path) -> bool:
    """Give the file `temp` the name `target` if nothing has it; False when something has. `temp` may stay."""
    try:
        os.link(temp, target)
    except FileExistsError:
        # A network file system may have made the link, lost the answer and tried again.
        return temp.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_new(temp, target)
    return True


def _rename_new(temp: Path, target: Path) -> bool:
    number = _renameat2(os.fsencode(temp), os.fsencode(target))
    if number in _NO_FLAG:
        raise NoAtomicCreate(number, "no atomic create")
    if number not in (0, errno.EEXIST):
        raise OSError(number, os.strerror(number), str(target))
    return number == 0


def _renameat2(source: bytes, target: bytes) -> int:
    """Rename without replacing; return the errno, 0 for success."""
    import ctypes  # only file systems without hard links need it

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library without it
        return errno.ENOSYS
    failed = function(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
    return ctypes.get_errno() if failed else 0


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write everything: a single write may take only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(descriptor: int) -> None:
    """Make the names in an opened directory durable."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise


def sync_path(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(descriptor)
    finally:
        os.close(descriptor)
