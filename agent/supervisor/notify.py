"""What a service tells the service manager that started it (sd_notify): that it is ready, alive, or about to stop."""

from __future__ import annotations

import contextlib
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
_SOCKET = "NOTIFY_SOCKET"


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send one state ("READY=1"); False where nobody wants to know it, or where it cannot be sent."""
    address = environ.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return False
    # A leading @ stands for the NUL of an abstract address.
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), target)
        return True
    return False


def watchdog_s(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Seconds within which the service manager wants to hear ALIVE from this process; None where it does not."""
    wanted, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or (of and of != str(os.getpid() if pid is None else pid)):
        return None
    return int(wanted) / 1e6 or None
