from __future__ import annotations

import pytest
from agent.probes.cgroups import Limits, Mount, directories, limits, parse_cpu_max, parse_groups, parse_mounts
from agent.probes.host import parse_cpu_list

from tests.unit.probes.fakehost import FakeHost

MOUNT_2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_MEMORY = "35 30 0:31 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n"
MOUNT_CPU = "36 30 0:32 /docker/4f /cg/cpu,cpuacct ro master:16 - cgroup cgroup rw,cpu,cpuacct\n"


def test_the_smallest_limit_of_all_groups_above_counts() -> None:
    host = FakeHost(
        {
            "/proc/self/mountinfo": MOUNT_2,
            "/proc/self/cgroup": "0::/a/b/c\n",
            "/sys/fs/cgroup/a/b/c/memory.max": "max\n",
            "/sys/fs/cgroup/a/b/c/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/a/b/memory.max": "2000\n",
            "/sys/fs/cgroup/a/memory.max": "1000\n",
            "/sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            "/sys/fs/cgroup/a/cpuset.cpus.effective": "0-3,8\n",
            "/sys/fs/cgroup/a/b/cpuset.cpus.effective": "2-5\n",
            "/sys/fs/cgroup/other/memory.max": "1\n",
        }
    )
    assert limits(host) == Limits(0.5, frozenset({2, 3}), 1000)


def test_version_1_limits_lie_where_each_controller_is_mounted() -> None:
    host = FakeHost(
        {
            "/proc/self/mountinfo": MOUNT_MEMORY + MOUNT_CPU,
            "/proc/self/cgroup": "5:memory:/job\n4:cpu,cpuacct:/docker/4f\n1:name=systemd:/\n0::/\n",
            "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4096\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/cg/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
            "/cg/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert limits(host) == Limits(1.5, None, 4096)


def test_no_quota_and_no_limit_of_version_1_limit_nothing() -> None:
    host = FakeHost(
        {
            "/proc/self/mountinfo": MOUNT_MEMORY + MOUNT_CPU,
            "/proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/docker/4f\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/cg/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "/cg/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert limits(host) == Limits()


def test_without_cgroups_nothing_is_known() -> None:
    assert limits(FakeHost()) == Limits()


@pytest.mark.parametrize(
    ("root", "group", "expected"),
    [
        ("/", "/", ["/m"]),
        ("/", "/a/b", ["/m/a/b", "/m/a", "/m"]),
        ("/docker/4f", "/docker/4f/x", ["/m/x", "/m"]),
        ("/docker/4f", "/elsewhere", ["/m"]),
        ("/", "/../../system.slice", ["/m"]),
    ],
)
def test_the_directories_of_a_group_and_of_all_above(root: str, group: str, expected: list[str]) -> None:
    assert directories(Mount(root, "/m"), group) == expected


def test_spaces_in_mount_points_are_escaped() -> None:
    mounts = parse_mounts(r"30 23 0:26 / /my\040cgroups rw - cgroup2 none rw")
    assert mounts[""].point == "/my cgroups"


@pytest.mark.parametrize("text", ["lots 100000", "100000 0", "100000", "", "1 2 3", "-1 100000", "9" * 400 + " 1"])
def test_a_quota_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no quota of CPU time"):
        parse_cpu_max(text)


def test_lines_that_cannot_be_read_hide_no_others() -> None:
    assert parse_groups("garbage\n\n4:cpu\n0::/a:b\n") == {"": "/a:b"}
    assert parse_mounts(f"garbage\n - cgroup2\n1 2 - cgroup2 a b\n{MOUNT_2}") == {"": Mount("/", "/sys/fs/cgroup")}


@pytest.mark.parametrize(("text", "numbers"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("", set()), ("5", {5}), ("0,2", {0, 2})])
def test_lists_of_cpus(text: str, numbers: set[int]) -> None:
    assert parse_cpu_list(text) == numbers
