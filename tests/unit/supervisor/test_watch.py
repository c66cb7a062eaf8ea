from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from agent.supervisor import processes, protocol
from agent.supervisor.sweep import Target
from agent.supervisor.watch import DISK, INTERVAL_S, MEMORY, PIDS, Watch

HELD = frozenset({"memory", "pids", "cpu"})
NONE: frozenset[str] = frozenset()
PLAIN: dict[str, Any] = {
    "version": 1,
    "attempt": "a",
    "directory": "/a",
    "argv": ["/bin/true"],
    "env": {},
    "cwd": "/",
    "log_limit_bytes": 1,
    "grace_s": 1,
}


def watch(held: frozenset[str], **keys: Any) -> Watch:
    """Watches this process in place of a job; the watch begins at 0."""
    me = processes.identify(os.getpid())
    return Watch(protocol.parse_spec({**PLAIN, **keys}), Target(me), held, 0.0)


def test_without_limits_there_is_nothing_to_look_at() -> None:
    assert watch(NONE).next_look() is None
    assert watch(NONE).look(100.0) is None


def test_memory_is_looked_at_once_a_second_where_no_kernel_holds_it() -> None:
    greedy = watch(NONE, memory_bytes=1)
    assert greedy.next_look() == INTERVAL_S
    assert greedy.look(INTERVAL_S / 2) is None
    assert greedy.look(INTERVAL_S) == MEMORY
    assert greedy.next_look() == 2 * INTERVAL_S


def test_resident_memory_says_nothing_where_the_kernel_counts(tmp_path: Path) -> None:
    """Shared pages count for each process."""
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    kept = watch(HELD, memory_bytes=1, cgroup=str(tmp_path), limits={"memory_bytes": 1, "pids": 1})
    assert kept.look(INTERVAL_S) is None
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    assert kept.look(2 * INTERVAL_S) == MEMORY


@pytest.mark.parametrize(("most", "found"), [(0, PIDS), (10_000, None)])
def test_threads_are_counted_where_no_kernel_does(most: int, found: str | None) -> None:
    assert watch(NONE, limits={"pids": most}).look(INTERVAL_S) == found


def test_memory_held_by_the_kernel_leaves_the_threads_to_be_counted() -> None:
    assert watch(frozenset({"memory"}), memory_bytes=1, limits={"pids": 0}).look(INTERVAL_S) == PIDS


def test_disk_is_looked_at_whatever_the_kernel_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    limits = {"disk_bytes": 50_000, "disk_paths": [str(tmp_path)]}
    assert watch(HELD, limits=limits).look(INTERVAL_S) == DISK
    assert watch(HELD, limits=limits).look_back() == DISK
    assert watch(HELD, limits={**limits, "disk_bytes": 1 << 20}).look_back() is None
