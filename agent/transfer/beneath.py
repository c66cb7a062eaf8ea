"""Opening files that a job made, without being led out of the job's directory by its symbolic links.

The payload is untrusted and may still have changed its tree a moment ago, so every component is opened from its
parent's descriptor with O_NOFOLLOW; a path is never resolved by name twice.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(root: Path, path: str) -> int | None:
    """Return a descriptor of the regular file or directory `path` below `root`; the caller closes it.

    None when it does not exist, is something else, or a component is a symbolic link.
    """
    parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in PurePosixPath(path).parts:
        try:
            # O_NONBLOCK: opening a FIFO that the job left would otherwise wait for a writer for ever.
            child = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except OSError:
            return None
        finally:
            os.close(parent)
        parent = child
    mode = os.fstat(parent).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return parent
    os.close(parent)
    return None


def open_directory(parent: int, name: str) -> int:
    """Return a descriptor of the directory `name` in `parent`, never through a symbolic link. Raises OSError."""
    return os.open(name, _DIRECTORY, dir_fd=parent)
