"""What the file system says, as the agent's errors: one table for records and artifacts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StoreUnavailable

_FULL = "free some space there, or use a store on a larger disk"
_READ_ONLY = "mount it for writing, or use another store"
_RIGHTS = "give the user of the agent the right to read and write there"
_GONE = "mount the disk or share, or create the store there"
_SHAPE = "something that is no store lies there: move it away"
_BROKEN = "check the disk, its cable and the kernel's log"
_SHARE = "check the share and the network to its server, or mount it anew"
_BUSY = "raise the limit of open files or stop what needs so much of this host"

# errno -> what would put it right. Any other gets a general remedy, and still the kernel's own words.
REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: _GONE,
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ENOTDIR: _SHAPE,
    errno.EISDIR: _SHAPE,
    errno.ELOOP: _SHAPE,
    errno.ENOTEMPTY: _SHAPE,
    errno.ENAMETOOLONG: "use a store with a shorter path, or shorter names",
    errno.EIO: _BROKEN,
    errno.EUCLEAN: _BROKEN,
    errno.ESTALE: _SHARE,
    errno.EREMOTEIO: _SHARE,
    errno.ETIMEDOUT: _SHARE,
    errno.EHOSTDOWN: _SHARE,
    errno.EHOSTUNREACH: _SHARE,
    errno.ECONNREFUSED: _SHARE,
    errno.ECONNRESET: _SHARE,
    errno.ENOTCONN: _SHARE,
    errno.ESHUTDOWN: _SHARE,
    errno.EMFILE: _BUSY,
    errno.ENFILE: _BUSY,
    errno.ENOMEM: _BUSY,
}
_GENERAL = "check the disk or share that this path lies on"


def unavailable(error: OSError, path: Path) -> StoreUnavailable:
    """Return the error to raise for `error`, met while `path` was used."""
    number = error.errno or 0
    words = os.strerror(number).lower() if number else str(error)
    return StoreUnavailable(f"{path}: {words}; {REMEDIES.get(number, _GENERAL)}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn every OSError of the block into StoreUnavailable about `path`."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, path) from error
