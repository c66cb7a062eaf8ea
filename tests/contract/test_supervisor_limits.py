"""Limits as this machine can hold them, with real processes: cgroups of version 1 where there are any, and disk."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.cgroup import job_place
from agent.supervisor.client import HolderRefused, Running

from tests.supervision import LONG, Supervision
from tests.waiting import wait_until

MIB = 1 << 20
PYTHON = (sys.executable, "-I", "-S", "-c")
# Its child takes more memory than there is; the parent would go on for ever.
GREED = f"sleep {LONG} & {sys.executable} -I -S -c 'x = bytearray(200 << 20)'; wait"
ENDLESS = "n=0; while :; do n=$((n+1)); head -c 1000000 /dev/zero >$n; done"
# Two files, since none alone grows beyond the limit.
HIDDEN = "exec 5>a 6>b; rm a b; while :; do head -c 1000000 /dev/zero >&5; head -c 1000000 /dev/zero >&6; done"


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    supervision = Supervision(tmp_path)
    yield supervision
    supervision.close()


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Groups of version 1 for one job, by controller."""
    found = job_place(tmp_path, Path("/proc/self")).first
    if set(found) != {"cpu", "memory", "pids"}:
        pytest.skip("needs root and cgroup v1 with cpu, memory and pids")
    yield {controller: str(place / f"job-{random.randrange(10**9)}") for controller, place in found.items()}
    for place in found.values():
        wait_until(partial(_is_empty, place), 10, f"{place} is empty")
        place.rmdir()


def _is_empty(place: Path) -> bool:
    return not any(each.is_dir() for each in place.iterdir())


def disk(supervision: Supervision, attempt: str, limit: int) -> dict[str, Any]:
    """What a spec says of disk: files may lie in the attempt's directory `work`."""
    work = supervision.attempts / attempt / "work"
    work.mkdir(parents=True)
    return {
        "cwd": str(work),
        "limits": {"disk_bytes": limit, "disk_paths": [str(work)]},
        "rlimits": {"core": 0, "fsize": limit},
    }


def test_out_of_memory_ends_the_whole_job(supervision: Supervision, groups: dict[str, str]) -> None:
    limits = {"memory_bytes": 64 * MIB, "groups": groups}
    run = supervision.shell("a", GREED, limits=limits, memory_bytes=64 * MIB)
    assert set(run.limit_groups) == set(groups.values())
    result = supervision.ended("a")
    assert (result.why, result.oom) == ("memory", True)


def test_cpu_time_is_limited(supervision: Supervision, groups: dict[str, str]) -> None:
    spin = "import os, time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    supervision.start("a", *PYTHON, spin, limits={"cpus": 0.2, "groups": groups})
    result = supervision.ended("a")
    assert (result.user_s + result.system_s) / result.elapsed_s < 0.4


def test_processes_are_limited(supervision: Supervision, groups: dict[str, str]) -> None:
    script = (
        "import os\nmade = 0\ntry:\n"
        " while made < 100:\n"
        "  if os.fork() == 0: os.execv('/bin/sleep', ['sleep', '60'])\n"
        "  made += 1\n"
        "except OSError: print(made)"
    )
    supervision.start("a", *PYTHON, script, limits={"pids": 20, "groups": groups})
    assert supervision.ended("a").exit_code == 0
    assert supervision.log("a") == b"19\n"


def test_without_a_kernel_that_counts_a_job_with_too_many_processes_is_ended(supervision: Supervision) -> None:
    supervision.shell("a", f"for i in 1 2 3 4 5 6; do sleep {LONG} & done; wait", limits={"pids": 5})
    assert supervision.ended("a").why == "pids"


def test_groups_of_a_job_whose_waiter_was_killed_are_removed(supervision: Supervision, groups: dict[str, str]) -> None:
    run = supervision.shell("a", f"sleep {LONG} & wait", limits={"memory_bytes": 64 * MIB, "groups": groups})
    os.kill(run.waiter.pid, 9)
    wait_until(lambda: not any(map(os.path.exists, groups.values())), 10, "the groups are gone")


@pytest.mark.parametrize("script", [ENDLESS, HIDDEN])
def test_a_job_that_fills_the_disk_is_ended(supervision: Supervision, script: str) -> None:
    supervision.shell("a", script, **disk(supervision, "a", 50 * MIB))
    assert supervision.ended("a").why == "disk"


def test_one_endless_file_stops_at_the_limit(supervision: Supervision) -> None:
    supervision.shell("a", "exec cat /dev/zero >file", **disk(supervision, "a", 8 * MIB))
    assert supervision.ended("a").why == "disk"
    assert (supervision.attempts / "a" / "work" / "file").stat().st_size <= 8 * MIB


def test_who_writes_too_much_between_two_looks_is_found_at_the_end(supervision: Supervision) -> None:
    script = "for i in 1 2 3; do head -c 4000000 /dev/zero >$i; done"
    supervision.shell("a", script, **disk(supervision, "a", 8 * MIB))
    result = supervision.ended("a")
    assert (result.exit_code, result.why) == (0, "disk")


def test_a_job_within_its_disk_is_left_alone(supervision: Supervision) -> None:
    script = "head -c 4000000 /dev/zero >file; sleep 1.3; rm file; head -c 7000000 /dev/zero >other"
    supervision.shell("a", script, **disk(supervision, "a", 8 * MIB))
    result = supervision.ended("a")
    assert (result.exit_code, result.why) == (0, "exited")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Supervision]:
    """A supervision on a disk of 96 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], check=True, timeout=10)
    supervision = Supervision(place)
    yield supervision
    supervision.close()
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def test_jobs_that_together_fill_the_disk_are_ended_before_it_is_full(small_disk: Supervision) -> None:
    """Each may have all of it. The one that does not grow goes on."""
    limits = {name: disk(small_disk, name, 96 * MIB) for name in ("calm", "slow", "fast")}
    for spec in limits.values():
        spec["limits"]["disk_floor_bytes"] = 32 * MIB
    small_disk.shell("calm", f"head -c 1000000 /dev/zero >file; exec sleep {LONG}", **limits["calm"])
    grow = "n=0; while :; do n=$((n+1)); head -c {size} /dev/zero >$n; sleep 0.1; done"
    small_disk.shell("slow", grow.format(size=100_000), **limits["slow"])
    small_disk.shell("fast", grow.format(size=1_000_000), **limits["fast"])
    assert small_disk.ended("fast").why == "disk-low"
    assert small_disk.ended("slow").why == "disk-low"
    found = os.statvfs(small_disk.state)
    assert found.f_bavail * found.f_frsize > 16 * MIB
    assert isinstance(small_disk.client.wait("calm", 0), Running)


def test_exact_limits_that_cannot_be_set_start_nothing(supervision: Supervision) -> None:
    spec = supervision.spec("a", "/bin/true", limits={"memory_bytes": MIB, "exact": True})
    with pytest.raises(HolderRefused, match="cannot start a: there is no cgroup for the limit of memory"):
        supervision.client.start(spec)
