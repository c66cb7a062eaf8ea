"""What this machine lets a plain user's containers have: the answers behind agent.probes.isolation."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from agent.errors import Unavailable
from agent.process import run

_TIMEOUT = 2.0
# Where installations put the starter, below the directory that has bin/: own builds, Debian, Fedora.
_FOLDERS = ("libexec", "lib", "lib64", "lib/*")
_RUNTIMES = ("apptainer", "singularity")


def fuse_error(device: Path) -> str:
    """Return the name of the error of opening the device for reading and writing, "" when that works.

    It is tried: the device limits of a unit or a container show in no permission bits.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return ""


def has_setuid_starter(program: str | None) -> bool:
    """Say whether a setuid starter of root's belongs to the runtime `program`."""
    if program is None:
        return False
    prefix = Path(program).resolve().parent.parent
    patterns = (f"{folder}/{runtime}/bin/starter-suid" for folder in _FOLDERS for runtime in _RUNTIMES)
    return any(_is_setuid_root(starter) for pattern in patterns for starter in prefix.glob(pattern))


def _is_setuid_root(file: Path) -> bool:
    try:
        facts = file.stat()
    except OSError:
        return False
    return facts.st_uid == 0 and bool(facts.st_mode & stat.S_ISUID)


def unshare_error() -> str | None:
    """Return what making a user namespace complains of, "" when it works, None where nothing can try it."""
    program = shutil.which("unshare")
    try:
        done = run([program, "--user", "--map-root-user", "true"], _TIMEOUT) if program else None
    except Unavailable:
        return None
    if done is None:
        return None
    return "" if done.status == 0 else " ".join(done.err.split()) or f"it ends with status {done.status}"
