from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from agent.adapters.cgroup import (
    NOWHERE,
    OWN,
    Tree,
    is_ours,
    job_groups,
    job_place,
    parse_mount,
    parse_own,
    parse_unit,
    remove_place,
    try_limits,
)

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


@pytest.mark.parametrize(
    ("own", "unit"),
    [
        ("/system.slice/edge.service", "/system.slice/edge.service"),
        ("/system.slice/edge.service/agent", "/system.slice/edge.service"),
        ("/user.slice/user@1.service/app.slice/a.scope", "/user.slice/user@1.service/app.slice/a.scope"),
        ("/user.slice/user@1.service/init.scope/x", "/user.slice/user@1.service/init.scope"),
        ("/lab/agent", "/lab/agent"),
        (f"/lab/{OWN}", "/lab"),
        (f"/{OWN}", ""),
        ("/", ""),
    ],
)
def test_the_unit_of_a_group_is_where_groups_of_its_own_may_go(own: str, unit: str) -> None:
    assert parse_unit(own) == unit


CONTROLLERS = "cpu io memory pids"


class Kernel:
    """Files that look like a kernel's: what a process sees of itself, and a tree of groups with its rules.

    A group's files appear and vanish with it, limits only where the group above has the controllers switched on, and
    one with processes (`busy`) lets nobody switch them on.
    """

    def __init__(self, folder: Path, own: str = "/own") -> None:
        self.proc, self.mount = folder / "proc", folder / "tree"
        self.tree = Tree(self.make, self.remove)
        self.kills = True
        self.frozen: tuple[str, ...] = ()
        self.log: list[str] = []
        self.proc.mkdir()
        (self.proc / "mountinfo").write_text(f"25 1 0:23 / {self.mount} rw - cgroup2 cgroup2 rw\n")
        (self.proc / "cgroup").write_text(f"0::{own}\n")
        self.own = self.mount / own.strip("/")
        for each in (*reversed(self.own.parents), self.own):
            if each.is_relative_to(self.mount):
                each.mkdir(parents=True)
                self.fill(each, CONTROLLERS)

    def fill(self, group: Path, controllers: str) -> None:
        (group / "cgroup.controllers").write_text(f"{controllers}\n")
        for name in ("cgroup.procs", "cgroup.subtree_control"):
            (group / name).touch()

    def busy(self, group: Path) -> None:
        (group / "cgroup.subtree_control").unlink()
        (group / "cgroup.subtree_control").mkdir()

    def make(self, group: Path) -> None:
        if not group.parent.exists():
            self.make(group.parent)
        group.mkdir(exist_ok=True)
        self.log.append(group.name)
        self.fill(group, CONTROLLERS)
        if self.kills:
            (group / "cgroup.kill").touch()
        for name in ("cpu.max", "memory.max", "pids.max"):
            if name in self.frozen:
                (group / name).mkdir()
            else:
                (group / name).write_text("max\n")

    def remove(self, group: Path) -> None:
        if any(each.is_dir() and (each / "cgroup.procs").exists() for each in group.iterdir()):
            raise OSError(39, "Directory not empty")
        for each in group.iterdir():
            (each.rmdir if each.is_dir() else each.unlink)()
        group.rmdir()

    def try_limits(self) -> dict[str, str]:
        return try_limits(Path("/state"), self.proc, self.tree)

    def groups(self) -> Path | None:
        return job_groups(Path("/state"), self.proc, self.tree)

    def left(self) -> list[Path]:
        return [each for each in self.own.iterdir() if each.name.startswith("edge-agent-")]


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
    assert kernel.left() == []


def test_a_tree_that_cannot_be_written_to_is_not_used(kernel: Kernel) -> None:
    shutil.rmtree(kernel.own)
    kernel.own.touch()
    assert kernel.groups() is None
    assert kernel.try_limits()["step"] == "controllers"


def test_groups_of_jobs_go_below_the_own_one_and_the_trial_is_gone(kernel: Kernel) -> None:
    groups = kernel.groups()
    assert groups is not None
    assert groups.parent == kernel.own
    assert kernel.left() == []


def test_groups_that_no_process_may_be_moved_to_are_not_used(kernel: Kernel) -> None:
    (kernel.own / "cgroup.procs").unlink()
    assert kernel.groups() is None


def test_beside_the_subgroup_of_a_service_limits_are_exact(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/system.slice/edge.service/agent")
    kernel.busy(kernel.own)
    groups = kernel.groups()
    assert groups is not None
    assert groups.parent == kernel.own.parent
    assert kernel.try_limits() == {"step": "done"}


def test_where_the_unit_is_not_ours_the_own_group_is_used(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/system.slice/other.service/agent")
    (kernel.own.parent / "cgroup.procs").unlink()
    groups = kernel.groups()
    assert groups is not None
    assert groups.parent == kernel.own


# --- trying limits ----------------------------------------------------------------------------------------------------


def test_limits_that_are_kept_are_exact_and_nothing_is_left(kernel: Kernel) -> None:
    assert kernel.try_limits() == {"step": "done"}
    assert kernel.left() == []
    assert any(name.startswith("limits-") for name in kernel.log)
    assert (kernel.own / "cgroup.subtree_control").read_text() == "-cpu -memory -pids"


def test_controllers_that_somebody_switched_on_stay_on(kernel: Kernel) -> None:
    (kernel.own / "cgroup.subtree_control").write_text(CONTROLLERS)
    assert kernel.try_limits() == {"step": "done"}
    assert (kernel.own / "cgroup.subtree_control").read_text() == CONTROLLERS


def test_with_jobs_in_its_groups_nothing_is_switched_off(kernel: Kernel) -> None:
    groups = kernel.groups()
    assert groups is not None
    kernel.make(groups / "job-1")
    assert kernel.try_limits() == {"step": "done"}
    assert (kernel.own / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert [each.name for each in groups.iterdir() if each.is_dir()] == ["job-1"]


def test_without_a_tree_of_version_2_limits_are_not_tried(kernel: Kernel) -> None:
    (kernel.proc / "mountinfo").write_text("")
    assert kernel.try_limits() == {"step": "tree"}


def test_controllers_that_are_missing_are_named(kernel: Kernel) -> None:
    (kernel.own / "cgroup.controllers").write_text("cpu hugetlb\n")
    assert kernel.try_limits() == {"step": "controllers", "path": str(kernel.own), "missing": "memory, pids"}


def test_a_group_with_processes_passes_no_controllers_on(kernel: Kernel) -> None:
    kernel.busy(kernel.own)
    found = kernel.try_limits()
    assert (found["step"], found["path"]) == ("enable", str(kernel.own))
    assert found["error"]
    assert kernel.left() == []


def test_a_kernel_that_cannot_kill_groups_makes_no_use_of_them(kernel: Kernel) -> None:
    kernel.kills = False
    assert kernel.try_limits()["step"] == "kill"


@pytest.mark.parametrize("name", ["cpu.max", "memory.max", "pids.max"])
def test_each_limit_is_tried(kernel: Kernel, name: str) -> None:
    kernel.frozen = (name,)
    found = kernel.try_limits()
    assert found["step"] == "write"
    assert kernel.left() == []


def test_a_group_that_cannot_be_made_is_named(kernel: Kernel) -> None:
    def forbidden(group: Path) -> None:
        raise PermissionError(13, "Permission denied")

    found = try_limits(Path("/state"), kernel.proc, Tree(forbidden, kernel.remove))
    assert found["step"] == "make"
    assert found["path"].startswith(str(kernel.own))
    assert found["error"] == "Permission denied"


def test_a_limit_that_is_not_kept_is_none(kernel: Kernel) -> None:
    def forgetful(group: Path) -> None:
        kernel.make(group)
        (group / "pids.max").unlink()
        (group / "pids.max").symlink_to("/dev/null")

    found = try_limits(Path("/state"), kernel.proc, Tree(forgetful, kernel.remove))
    assert found["step"] == "write"
    assert "pids.max keeps" in found["error"]


def test_a_plain_directory_is_not_taken_for_a_tree(tmp_path: Path) -> None:
    """As on a file system without the kernel's files: writing to a file that is not there must not look well."""
    kernel = Kernel(tmp_path)
    found = try_limits(Path("/state"), kernel.proc)
    assert found["step"] == "kill"
    assert kernel.left() == []


# --- being in the way -------------------------------------------------------------------------------------------------


class Guarded(Kernel):
    """A tree whose own group has processes: controllers can be switched on there once `moved` have left it."""

    def __init__(self, folder: Path, ours: tuple[int, ...]) -> None:
        super().__init__(folder, "/system.slice/edge.service")
        self.tree = Tree(self.make, self.remove, ours.__contains__)
        (self.own / "cgroup.procs").write_text("7\n8\n")
        self.busy(self.own)

    def make(self, group: Path) -> None:
        """As soon as there is a group for them, processes leave: here, all at once."""
        super().make(group)
        if group.name == OWN:
            (self.own / "cgroup.procs").write_text("")
            (self.own / "cgroup.subtree_control").rmdir()
            (self.own / "cgroup.subtree_control").touch()


@pytest.fixture
def busy_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plain directory says in place of the kernel."""
    monkeypatch.setattr(errno, "EBUSY", errno.EISDIR)


@pytest.mark.usefixtures("busy_errors")
def test_the_agent_itself_moves_out_of_the_way_of_controllers(tmp_path: Path) -> None:
    kernel = Guarded(tmp_path, ours=(7, 8))
    assert kernel.try_limits() == {"step": "done"}
    assert (kernel.own / OWN / "cgroup.procs").read_text() == "8"  # the last one written, where the kernel adds


@pytest.mark.usefixtures("busy_errors")
def test_others_are_never_moved(tmp_path: Path) -> None:
    kernel = Guarded(tmp_path, ours=(7,))
    assert kernel.try_limits()["step"] == "enable"
    assert not (kernel.own / OWN).exists()


def test_this_process_and_what_it_started_are_ours_and_others_are_not() -> None:
    gate, opened = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(gate, 1)
        os._exit(0)
    try:
        assert is_ours(os.getpid())
        assert is_ours(child)
        assert not is_ours(1)
        assert not is_ours(os.getppid())
    finally:
        os.write(opened, b"x")
        os.waitpid(child, 0)
        os.close(gate)
        os.close(opened)


# --- where jobs go ----------------------------------------------------------------------------------------------------


def test_where_limits_hold_jobs_go_there_with_all_controllers(kernel: Kernel) -> None:
    place = job_place(Path("/state"), kernel.proc, kernel.tree)
    assert place.exact
    assert place.groups is not None
    assert place.groups.parent == kernel.own
    assert (place.groups / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert place.first == {}


def test_the_place_of_jobs_stays_when_limits_are_tried_again(kernel: Kernel) -> None:
    place = job_place(Path("/state"), kernel.proc, kernel.tree)
    assert kernel.try_limits() == {"step": "done"}
    assert place.groups is not None
    assert place.groups.exists()


def test_without_one_controller_the_others_are_switched_on_and_limits_are_not_exact(kernel: Kernel) -> None:
    """A kernel that lacks one refuses all of a line; here, the directory of job groups takes no switches at all."""
    groups = job_place(Path("/state"), kernel.proc, kernel.tree).groups
    assert groups is not None
    kernel.busy(groups)
    assert not job_place(Path("/state"), kernel.proc, kernel.tree).exact


def test_the_place_of_jobs_is_removed_once_no_job_is_in_it(kernel: Kernel) -> None:
    groups = job_place(Path("/state"), kernel.proc, kernel.tree).groups
    assert groups is not None
    kernel.make(groups / "job-1")
    remove_place(Path("/state"), kernel.proc, kernel.tree)
    assert groups.exists()
    kernel.tree.remove(groups / "job-1")
    remove_place(Path("/state"), kernel.proc, kernel.tree)
    assert kernel.left() == []


def test_without_any_tree_there_is_no_place(kernel: Kernel) -> None:
    (kernel.proc / "mountinfo").write_text("")
    assert job_place(Path("/state"), kernel.proc, kernel.tree) == NOWHERE


def test_groups_of_version_1_take_what_version_2_does_not(tmp_path: Path) -> None:
    """A hybrid host: the tree of version 2 has no controllers, and those of version 1 are in trees of their own."""
    kernel = Kernel(tmp_path)
    (kernel.own / "cgroup.controllers").write_text("\n")
    lines = (kernel.proc / "mountinfo").read_text()
    for controller, file in (("memory", "memory.limit_in_bytes"), ("cpu", "cpu.cfs_quota_us"), ("pids", None)):
        place = tmp_path / controller
        lines += f"30 1 0:30 / {place} rw - cgroup cgroup rw,{controller}\n"
        if file is not None:
            made = place / "own" / f"{_name_of_groups(kernel)}"
            made.mkdir(parents=True)
            (made / file).touch()
    (kernel.proc / "mountinfo").write_text(lines)
    (kernel.proc / "cgroup").write_text("4:memory:/own\n3:cpu:/own\n2:pids:/own\n0::/own\n")
    (kernel.own / "cgroup.subtree_control").unlink()
    place_of_jobs = job_place(Path("/state"), kernel.proc, kernel.tree)
    assert not place_of_jobs.exact
    assert place_of_jobs.groups is not None
    assert place_of_jobs.first == {
        "memory": tmp_path / "memory/own" / place_of_jobs.groups.name,
        "cpu": tmp_path / "cpu/own" / place_of_jobs.groups.name,
    }


def _name_of_groups(kernel: Kernel) -> str:
    groups = kernel.groups()
    assert groups is not None
    return groups.name


def test_a_group_below_a_threaded_one_is_not_used_for_limits(kernel: Kernel) -> None:
    def threaded(group: Path) -> None:
        kernel.make(group)
        (group / "cgroup.type").write_text("domain invalid\n")

    found = try_limits(Path("/state"), kernel.proc, Tree(threaded, kernel.remove))
    assert found["step"] == "type"
    assert "domain invalid" in found["error"]
