from __future__ import annotations

from typing import Any

import pytest
from agent.model.capabilities import Problem
from agent.probes import isolation, probe_host

from tests.unit.probes.fakehost import FakeHost

RUNTIME = "apptainer version 1.4.5"
PLAIN: dict[str, Any] = {"uid": 1000, "fuse": "", "setuid_starter": False, "runtime_version": RUNTIME}
CLONE = "/proc/sys/kernel/unprivileged_userns_clone"
MOST = "/proc/sys/user/max_user_namespaces"
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


def problems(host: FakeHost) -> list[Problem]:
    return list(probe_host(host, host_id="a").problems)


def test_a_plain_user_with_both_has_no_problem() -> None:
    files = {CLONE: "1", MOST: "15000", APPARMOR: "0", "/proc/self/ns/user": ""}
    assert problems(FakeHost(files, **PLAIN)) == []


@pytest.mark.parametrize(
    ("files", "said", "remedy"),
    [
        ({CLONE: "0"}, f"{CLONE} is 0", "sysctl kernel.unprivileged_userns_clone=1"),
        ({MOST: "0"}, f"{MOST} is 0", "sysctl user.max_user_namespaces=15000"),
        ({APPARMOR: "1"}, "AppArmor", "AppArmor profile"),
        ({APPARMOR: "1", "/etc/apparmor.d/firefox": ""}, "AppArmor", "AppArmor profile"),
        ({"/proc/self/ns/mnt": ""}, "the kernel has no user namespaces", "CONFIG_USER_NS"),
    ],
)
def test_what_forbids_user_namespaces_is_a_problem_of_the_runtime(
    files: dict[str, str], said: str, remedy: str
) -> None:
    (problem,) = problems(FakeHost(files, **PLAIN))
    assert problem.probe == "runtime"
    assert said in problem.message
    assert remedy in (problem.remedy or "")


@pytest.mark.parametrize("name", ["apptainer", "singularity-ce", "usr.libexec.apptainer.bin.starter"])
def test_apparmor_lets_a_runtime_with_a_profile_pass(name: str) -> None:
    files = {APPARMOR: "1", f"/etc/apparmor.d/{name}": "profile"}
    assert isolation.user_namespaces(FakeHost(files, **PLAIN)) is None


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [("ENOENT", "there is no /dev/fuse", "modprobe fuse"), ("EPERM", "cannot open /dev/fuse (EPERM)", "DeviceAllow")],
)
def test_a_plain_user_without_fuse_has_a_problem(error: str, said: str, remedy: str) -> None:
    (problem,) = problems(FakeHost(**{**PLAIN, "fuse": error}))
    assert problem.probe == "runtime"
    assert said in problem.message
    assert remedy in (problem.remedy or "")


def test_both_problems_are_told() -> None:
    assert len(problems(FakeHost({CLONE: "0"}, **{**PLAIN, "fuse": "ENOENT"}))) == 2


def test_the_facts_of_the_runtime_are_kept_beside_a_problem() -> None:
    assert probe_host(FakeHost({CLONE: "0"}, **PLAIN)).runtime.version == "1.4.5"


@pytest.mark.parametrize("exempt", [{"uid": 0}, {"setuid_starter": True}])
def test_root_and_a_setuid_starter_need_neither(exempt: dict[str, Any]) -> None:
    files = {CLONE: "0", MOST: "0", APPARMOR: "1"}
    assert problems(FakeHost(files, **{**PLAIN, "fuse": "ENOENT", **exempt})) == []


def test_of_a_host_without_runtime_only_that_is_told() -> None:
    (problem,) = problems(FakeHost({CLONE: "0"}, **{**PLAIN, "runtime_version": ""}))
    assert "no container runtime" in problem.message


def test_a_recording_that_does_not_say_who_asked_has_no_problem() -> None:
    assert problems(FakeHost({CLONE: "0"}, runtime_version=RUNTIME, fuse="ENOENT")) == []


class AskingHost(FakeHost):
    """Notes the queries."""

    def query(self, name: str) -> Any:
        self.asked = {*getattr(self, "asked", ()), name}
        return super().query(name)


@pytest.mark.parametrize(
    ("error", "said"),
    [("", None), (None, None), ("unshare failed: Operation not permitted", "Operation not permitted")],
)
def test_in_a_container_it_is_tried(error: str | None, said: str | None) -> None:
    host = AskingHost({"/.dockerenv": ""}, **PLAIN, unshare=error)
    found = isolation.user_namespaces(host)
    assert "unshare" in host.asked
    assert (found is None) == (said is None)
    assert said is None or (found is not None and said in found.message and "container" in found.remedy)


def test_outside_of_containers_no_program_is_started_for_it() -> None:
    host = AskingHost({"/proc/1/environ": "HOME=/"}, **PLAIN)
    assert isolation.user_namespaces(host) is None
    assert "unshare" not in host.asked
