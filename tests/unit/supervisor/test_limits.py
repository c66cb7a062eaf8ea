from __future__ import annotations

from pathlib import Path

import pytest
from agent.supervisor.limits import Limits, impose, oom_kills, throttle

WANTED = Limits(cpus=1.5, memory_bytes=64 << 20, pids=50, exact=True)
FILES = {"cpu.max": "max 100000", "memory.max": "max", "memory.oom.group": "0", "pids.max": "max"}
FIRST = {
    "memory": ("memory.limit_in_bytes",),
    "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "pids": ("pids.max",),
}


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The files of a group of version 2 with all controllers, in a kernel without swap."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def first(tmp_path: Path) -> dict[str, str]:
    """Groups of version 1, by controller."""
    for controller, names in FIRST.items():
        (tmp_path / controller).mkdir()
        for name in names:
            (tmp_path / controller / name).touch()
    return {controller: str(tmp_path / controller) for controller in FIRST}


def read(place: Path | str, name: str) -> str:
    return Path(place, name).read_text()


def test_memory_and_processes_are_limited_before_the_start_and_cpu_time_later(group: Path) -> None:
    assert impose(str(group), WANTED) == {"memory", "pids", "cpu"}
    assert (read(group, "memory.max")[:8], read(group, "memory.oom.group")) == ("67108864", "1")
    assert read(group, "pids.max")[:2] == "50"
    assert read(group, "cpu.max") == "max 100000"
    throttle(str(group), WANTED)
    assert read(group, "cpu.max") == "150000 100000"


def test_nothing_is_swapped_where_there_is_swap(group: Path) -> None:
    (group / "memory.swap.max").write_text("max")
    impose(str(group), WANTED)
    assert read(group, "memory.swap.max")[:1] == "0"


def test_what_is_not_asked_for_is_not_limited(group: Path) -> None:
    assert impose(str(group), Limits(exact=True)) == frozenset()
    throttle(str(group), Limits(exact=True))
    assert {name: read(group, name) for name in FILES} == FILES


def test_a_quota_is_never_below_what_the_kernel_takes(group: Path) -> None:
    throttle(str(group), Limits(cpus=0.001))
    assert read(group, "cpu.max").split()[0] == "1000"


@pytest.mark.parametrize("missing", [name for name in FILES if name != "memory.oom.group"])
def test_an_exact_limit_that_cannot_be_set_is_an_error_that_names_it(group: Path, missing: str) -> None:
    (group / missing).unlink()
    with pytest.raises(OSError, match=rf"the limit of {missing.split('.')[0]} cannot be set in {group}"):
        impose(str(group), WANTED)


def test_best_effort_sets_what_there_is(group: Path) -> None:
    (group / "memory.max").unlink()
    assert impose(str(group), WANTED._replace(exact=False)) == {"pids", "cpu"}
    assert not (group / "memory.max").exists()


def test_without_a_group_nothing_is_held() -> None:
    assert impose(None, WANTED._replace(exact=False)) == frozenset()
    with pytest.raises(OSError, match="no cgroup for the limit of memory"):
        impose(None, WANTED)


def test_groups_of_version_1_are_used_where_they_are_told(first: dict[str, str]) -> None:
    wanted = WANTED._replace(groups=first, exact=False)
    assert impose("/no/such/group", wanted) == {"memory", "pids", "cpu"}
    throttle("/no/such/group", wanted)
    assert read(first["memory"], "memory.limit_in_bytes") == str(64 << 20)
    assert read(first["cpu"], "cpu.cfs_quota_us") == "150000"
    assert read(first["cpu"], "cpu.cfs_period_us") == "100000"
    assert read(first["pids"], "pids.max") == "50"


def test_swap_is_limited_in_version_1_where_it_is_counted(first: dict[str, str]) -> None:
    Path(first["memory"], "memory.memsw.limit_in_bytes").touch()
    impose(None, WANTED._replace(groups=first))
    assert read(first["memory"], "memory.memsw.limit_in_bytes") == str(64 << 20)


def test_the_kernel_tells_how_often_memory_ran_out(group: Path, first: dict[str, str]) -> None:
    assert oom_kills(None, WANTED) == 0
    assert oom_kills(str(group), WANTED) == 0
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n")
    assert oom_kills(str(group), WANTED) == 3
    Path(first["memory"], "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills(str(group), WANTED._replace(groups=first)) == 2
