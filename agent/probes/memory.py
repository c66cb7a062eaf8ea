"""Main memory, and how much of it the agent may use."""

from __future__ import annotations

import re

from agent.model.capabilities import MemoryFacts
from agent.ports import Host
from agent.probes import cgroups
from agent.probes.host import read_text


def probe(host: Host) -> MemoryFacts:
    """Return total and effective memory in bytes."""
    text = read_text(host, "/proc/meminfo")
    total = parse_total(text) if text else None
    amounts = [amount for amount in (total, cgroups.limits(host).memory) if amount is not None]
    return MemoryFacts(total_bytes=total, effective_bytes=min(amounts, default=None))


def parse_total(text: str) -> int | None:
    """Return MemTotal of /proc/meminfo in bytes; None when there is no such line."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
