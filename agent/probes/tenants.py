"""Which processes are the agent's own: those of its jobs, which descend from the holder (agent/supervisor)."""

from __future__ import annotations

import re

from agent.ports import Host

_HOLDER = b"agent.supervisor"
_MOST_ANCESTORS = 64  # a chain is far shorter; one read while it changes could lead in a circle


def is_foreign(host: Host, pid: int) -> bool:
    """Say whether a process belongs to somebody else. One that cannot be seen does."""
    for _ in range(_MOST_ANCESTORS):
        if _HOLDER in (host.read(f"/proc/{pid}/cmdline") or b""):
            return False
        parent = parse_parent(host.read(f"/proc/{pid}/stat") or b"")
        if not parent:
            return True
        pid = parent
    return True


def parse_parent(stat: bytes) -> int | None:
    """Return the parent's process id of /proc/PID/stat; the name before it may hold blanks and brackets."""
    match = re.match(rb" \S (\d{1,10}) ", stat.rpartition(b")")[2])
    return int(match[1]) if match else None
