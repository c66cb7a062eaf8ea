from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from agent.supervisor.usage import Counted, of_groups, record

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024**2


def reaped(user_s: float, system_s: float, largest_kib: int) -> resource.struct_rusage:
    return resource.struct_rusage((user_s, system_s, largest_kib, *(0,) * 13))


def group(place: Path, **files: str) -> str:
    """A group's directory with these files, "_" in a name standing for "."."""
    place.mkdir()
    for name, text in files.items():
        (place / name.replace("_", ".", 1)).write_text(text)
    return str(place)


@pytest.fixture
def second(tmp_path: Path) -> str:
    """A group of version 2 whose memory is counted."""
    time = "usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\nnice_usec 0\n"
    return group(tmp_path / "second", cpu_stat=time, memory_peak="73400320\n")


def test_groups_of_version_2_tell_time_and_the_most_memory(second: str) -> None:
    assert of_groups(second, {}) == Counted(2.5, 1.0, 70 * MIB)


def test_a_group_without_a_memory_controller_tells_time_alone(tmp_path: Path) -> None:
    found = of_groups(group(tmp_path / "g", cpu_stat="user_usec 500000\nsystem_usec 0\n"), {})
    assert found == Counted(0.5, 0.0, None)


def test_groups_of_version_1_are_one_for_each_controller(tmp_path: Path) -> None:
    time = group(tmp_path / "cpuacct", cpuacct_stat=f"user {3 * TICKS}\nsystem {TICKS}\n")
    memory = group(tmp_path / "memory", memory_max_usage_in_bytes=f"{5 * MIB}\n")
    assert of_groups(None, {"cpuacct": time, "memory": memory}) == Counted(3.0, 1.0, 5 * MIB)


def test_cpu_and_cpuacct_may_be_one_hierarchy(tmp_path: Path) -> None:
    both = group(tmp_path / "cpu", cpu_stat="nr_periods 7\n", cpuacct_stat=f"user {TICKS}\nsystem 0\n")
    assert of_groups(None, {"cpu": both}).user_s == 1.0


@pytest.mark.parametrize("text", ["", "max\n", "user_usec\n"])
def test_files_that_tell_nothing_are_no_numbers(tmp_path: Path, text: str) -> None:
    assert of_groups(group(tmp_path / "g", memory_peak=text), {}) == Counted()


def test_without_groups_nothing_is_counted(tmp_path: Path) -> None:
    assert of_groups(None, {}) == Counted()
    assert of_groups(str(tmp_path / "removed"), {}) == Counted()


def test_time_is_that_of_the_source_that_saw_more() -> None:
    """A job can leave its group; and what the kernel reaped for it was not seen by the waiter."""
    assert record(Counted(2.5, 1.0), reaped(4.0, 0.5, 0), 0, 9.0) == {
        "user_s": 4.0,
        "system_s": 1.0,
        "peak_memory_bytes": 0,
        "wall_s": 9.0,
    }


@pytest.mark.parametrize(
    ("counted", "largest_kib", "seen", "peak"),
    [
        (70 * MIB, 1024, 90 * MIB, 70 * MIB),
        (None, 1024, 90 * MIB, 90 * MIB),
        (None, 1024, 0, MIB),
    ],
)
def test_memory_is_the_groups_count_else_the_most_that_was_seen(
    counted: int | None, largest_kib: int, seen: int, peak: int
) -> None:
    found = record(Counted(peak_bytes=counted), reaped(0, 0, largest_kib), seen, 1.0)
    assert found["peak_memory_bytes"] == peak
