"""The file system of the state directory."""

from __future__ import annotations

from agent.model.capabilities import StorageFacts
from agent.ports import Host


def probe(host: Host) -> StorageFacts:
    """Return path, total and free bytes."""
    answer = host.query("statvfs")
    return StorageFacts(*answer) if answer is not None else StorageFacts()
