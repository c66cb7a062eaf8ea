from __future__ import annotations

from pathlib import Path

import pytest
from agent.adapters.cgroup import job_groups, parse_mount, parse_own

UNIFIED = "25 1 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = """\
30 25 0:26 / /sys/fs/cgroup ro shared:5 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:6 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory"""


@pytest.mark.parametrize(
    ("mountinfo", "mount"),
    [
        (UNIFIED, "/sys/fs/cgroup"),
        (HYBRID, "/sys/fs/cgroup/unified"),
        ("25 1 0:23 / /sys/fs/cgroup rw - cgroup2 none rw", "/sys/fs/cgroup"),
        ("25 1 0:23 / /sys/fs/cgroup rw - cgroup cgroup rw,cgroup2", None),
        ("", None),
    ],
)
def test_the_tree_of_version_2_is_found_among_the_mounts(mountinfo: str, mount: str | None) -> None:
    assert parse_mount(mountinfo) == mount


@pytest.mark.parametrize(
    ("cgroup", "own"),
    [
        ("0::/system.slice/edge-jobs.service\n", "/system.slice/edge-jobs.service"),
        ("12:memory:/a\n1:name=systemd:/b\n0::/c\n", "/c"),
        ("0::/\n", "/"),
        ("12:memory:/a\n", None),
        ("", None),
    ],
)
def test_the_own_group_is_the_one_of_version_2(cgroup: str, own: str | None) -> None:
    assert parse_own(cgroup) == own


class Kernel:
    """Files that look like a kernel's: what a process sees of itself, and a tree of groups."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.tree = folder / "proc", folder / "tree"
        self.proc.mkdir()
        (self.tree / "own").mkdir(parents=True)
        (self.proc / "mountinfo").write_text(f"25 1 0:23 / {self.tree} rw - cgroup2 cgroup2 rw\n")
        (self.proc / "cgroup").write_text("0::/own\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_without_a_tree_of_version_2_there_are_no_groups(kernel: Kernel) -> None:
    (kernel.proc / "mountinfo").write_text("")
    assert job_groups(Path("/state"), kernel.proc) is None


def test_without_proc_there_are_no_groups(tmp_path: Path) -> None:
    assert job_groups(Path("/state"), tmp_path / "nothing") is None


def test_a_tree_whose_groups_cannot_be_killed_is_not_used_and_nothing_stays_in_it(kernel: Kernel) -> None:
    """A plain directory has no cgroup.kill, like a kernel before 5.14."""
    assert job_groups(Path("/state"), kernel.proc) is None
    assert list((kernel.tree / "own").iterdir()) == []


def test_a_tree_that_cannot_be_written_to_is_not_used(kernel: Kernel) -> None:
    (kernel.tree / "own").rmdir()
    (kernel.tree / "own").touch()
    assert job_groups(Path("/state"), kernel.proc) is None
