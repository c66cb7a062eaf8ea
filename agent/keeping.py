"""What a job left on this host, made to survive a power cut. A result that leaves at once needs none of it.

The holder's exit.json is durable before the job's own files are: a host that lost its power may have the one without
the other. So results that have to wait here are synced, and after a restart of the host only those are delivered.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

KEPT = "kept"  # a file in the attempt's directory: all else there is durable


def keep(directory: Path) -> None:
    """Make log and work of an ended attempt durable, then say so. Raises OSError."""
    if is_kept(directory):
        return
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            if stat.S_ISREG(path.lstat().st_mode):
                _sync(path)
        _sync(Path(place))
    (directory / KEPT).touch()
    _sync(directory / KEPT)
    _sync(directory)


def is_kept(directory: Path) -> bool:
    """Say whether what the attempt left has been made durable."""
    return (directory / KEPT).exists()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
