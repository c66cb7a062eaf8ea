"""Copies of files that share their blocks with the original where the file system can do that."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_RANGE_BYTES = 1024**3
_NO_COPY_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EBADF)


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file, nothing else of it; writing to the copy changes no other file. Raises OSError."""
    with source.open("rb") as original, target.open("wb") as copy:
        try:
            while os.copy_file_range(original.fileno(), copy.fileno(), _RANGE_BYTES):
                pass
        except OSError as error:
            if error.errno not in _NO_COPY_RANGE:
                raise
        # Both offsets stand where the kernel stopped: at the end, or where it could not go on.
        shutil.copyfileobj(original, copy)
