"""Who gives a command, as others are told."""

from __future__ import annotations

import getpass
import socket


def who() -> str:
    """Return user and machine, such as "eva@desk"; the machine alone where the user has no name."""
    machine = socket.gethostname()
    try:
        return f"{getpass.getuser()}@{machine}"
    except (KeyError, OSError):
        return machine
