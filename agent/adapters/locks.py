"""Locks that the kernel frees when their process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from agent.errors import ConfigError, Unavailable


def lock_state_dir(state_dir: Path) -> IO[str]:
    """Return the open lock of a state directory; it is held until the file is closed. Raises Unavailable."""
    path = state_dir / "agent.lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; the agent must be able to write to its state directory") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        raise Unavailable(f"an agent (process {owner}) uses {state_dir} already; stop it or use --state-dir") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def lock_host(name: str = "edge-agent/host") -> socket.socket:
    """Return the lock of the whole host; it is held until the socket is closed.

    An abstract socket address needs no directory that all users may write to, and leaves no file behind.
    Raises ConfigError when another agent gives out this host already.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind("\0" + name)
    except OSError:
        lock.close()
        raise ConfigError(
            "resources: another agent gives out the whole of this host already",
            hint="give each agent its share: set resources.cpus and resources.memory",
        ) from None
    return lock
