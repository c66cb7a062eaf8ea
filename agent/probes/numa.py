"""Memory of GPUs that the kernel counts in MemTotal: as NUMA nodes without a CPU (GH200, GB200, POWER9 with NVLink)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.model.capabilities import Gpu, MemoryFacts
from agent.ports import Host
from agent.probes import driver, memory
from agent.probes.host import parse_cpu_list, read_text

COHERENT = "dedicated-coherent"
_NODES = "/sys/devices/system/node"


def system_memory(host: Host, total: int | None, gpus: Iterable[Gpu]) -> MemoryFacts:
    """Return the main memory without what belongs to GPUs; unknown where GPU memory is in it, of unknown size."""
    coherent = [gpu for gpu in gpus if gpu.memory_kind == COHERENT]
    taken = _gpu_bytes(host, coherent) if coherent else 0
    if total is None or taken is None:
        return MemoryFacts()
    return MemoryFacts(system_bytes=max(total - taken, 0))


def _gpu_bytes(host: Host, coherent: list[Gpu]) -> int | None:
    nodes = gpu_nodes(host)
    if nodes is not None and not nodes:
        return 0  # the driver keeps the memory to itself
    sizes = [_node_bytes(host, node) for node in nodes or ()]
    known = [size for size in sizes if size is not None]
    if sizes and len(known) == len(sizes):
        return sum(known)
    # Near enough for a share of the rest: a GPU keeps some of its memory from its node.
    amounts = [gpu.memory_bytes for gpu in coherent if gpu.memory_bytes is not None]
    return sum(amounts) if nodes and len(amounts) == len(coherent) else None


def gpu_nodes(host: Host) -> frozenset[int] | None:
    """Return the NUMA nodes that are GPU memory: those the driver names, else those without a CPU; None: unknown."""
    named = frozenset(node for gpu in driver.driver_gpus(host) if (node := status_node(host, gpu.pci)) is not None)
    if named:
        return named
    there = _node_list(host, "has_memory")
    online = there if there is not None else _node_list(host, "online")
    with_cpu = _node_list(host, "has_cpu")
    return None if online is None or with_cpu is None else online - with_cpu


def status_node(host: Host, pci: str) -> int | None:
    """Return the node that the driver made of a GPU's memory."""
    return parse_status(read_text(host, f"{driver.FOLDER}/gpus/{pci}/numa_status") or "")


def parse_status(text: str) -> int | None:
    """Return the node of a file numa_status (Node, Status, Address, Size); None unless it is online."""
    node = re.search(r"^Node:\s*(\d{1,6})\s*$", text, re.MULTILINE)
    online = re.search(r"^Status:\s*online\s*$", text, re.MULTILINE)
    return int(node[1]) if node and online else None


def _node_list(host: Host, name: str) -> frozenset[int] | None:
    text = read_text(host, f"{_NODES}/{name}")
    return None if text is None else parse_cpu_list(text)


def _node_bytes(host: Host, node: int) -> int | None:
    return parse_node_total(read_text(host, f"{_NODES}/node{node}/meminfo") or "")


def parse_node_total(text: str) -> int | None:
    """Return MemTotal of a node's meminfo in bytes ("Node 8 MemTotal:  15728640 kB")."""
    match = re.search(r"^Node \d+ MemTotal:\s*(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def total_bytes(host: Host) -> int | None:
    """Return MemTotal in bytes."""
    return memory.parse_total(read_text(host, "/proc/meminfo") or "")
