"""Every check of `doctor`: what it says when all is well, in doubt, and when something is wrong."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest
from agent.board import Mode
from agent.checks import CHECKS, Bench, Finding, examine
from agent.errors import BrokerRefused, HostFault, StoreUnavailable, Unavailable
from agent.model.capabilities import Capabilities, Problem, RuntimeFacts

from tests.contract.refused_calls import refusing
from tests.fakes import FakeArtifacts, FakeClock, FakeRecords
from tests.unit.probes.fakehost import FakeHost

GIB = 1024**3
ABLE = Capabilities(runtime=RuntimeFacts(name="apptainer", version="1.4.5", archs=("amd64",)))
UNABLE = Capabilities(
    runtime=RuntimeFacts(archs=()), problems=(Problem("runtime", "no apptainer on PATH", "install apptainer"),)
)
WELL: dict[str, Any] = {"uid": 1000, "fuse": "", "setuid_starter": False, "limits_test": {"step": "done"}}
FILTERED = "Seccomp:\t2\nSeccomp_filters:\t1\n"
NewBench = Callable[..., Bench]


class ForgetfulRecords(FakeRecords):
    """Takes every record and keeps none."""

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        return True


class CarelessRecords(FakeRecords):
    """Ignores the condition, as some S3 servers do."""

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        return super().put(key, body)


class StickyRecords(FakeRecords):
    """Lets nobody delete."""

    def delete(self, key: str) -> None:
        """It does not happen, and nobody is told."""


class BrokenArtifacts(FakeArtifacts):
    """Gives back other bytes than it took."""

    def open(self, uri: str) -> BinaryIO:
        return io.BytesIO(super().open(uri).read()[1:])


def nothing() -> None:
    """All is well."""


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def new_bench(tmp_path: Path) -> NewBench:
    """A function that returns a bench where all is well, but for what is given."""

    def make(**given: Any) -> Bench:
        records, results = FakeRecords(FakeClock()), FakeRecords(FakeClock())
        good: dict[str, Any] = {
            "state_dir": tmp_path,
            "host": FakeHost(**WELL),
            "profile": ABLE,
            "prepare": nothing,
            "free_disk": lambda: 5 * GIB,
            "canary": lambda: FILTERED,
            "artifacts": FakeArtifacts,
            "records": {"lab": lambda: records},
            "queues": {"cloud": nothing},
            "results": {"lab": lambda: results},
            "results_roots": {"lab": "mem://results"},
            "broker": nothing,
            "clocks": {"http://store": lambda: 0.4},
        }
        return Bench(**{**good, **given})

    return make


def found(bench: Bench, check: str) -> list[Finding]:
    return [finding for finding in examine(bench) if finding.check.split()[0] == check]


def only(bench: Bench, check: str) -> tuple[str, str, str]:
    """Return status, message and remedy of the one finding of a check."""
    (finding,) = found(bench, check)
    return finding.status, finding.message, finding.remedy


def test_where_all_is_well_every_check_says_so(new_bench: NewBench) -> None:
    findings = list(examine(new_bench()))
    assert {finding.status for finding in findings} == {"ok"}
    assert {finding.check.split()[0] for finding in findings} == {name for name, _ in CHECKS}
    assert {finding.remedy for finding in findings} == {""}


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (None, ("ok", "none runs here now", "")),
        (Mode("ready"), ("ok", "it is ready", "")),
        (Mode("paused", "new fan"), ("ok", "it is paused: new fan", "")),
    ],
)
def test_an_agent_that_runs_here_is_told(new_bench: NewBench, mode: Mode | None, said: tuple[str, str, str]) -> None:
    assert only(new_bench(mode=lambda: mode), "agent") == said


def test_a_host_that_the_agent_found_faulty_is_a_failure(new_bench: NewBench) -> None:
    faulty = Mode("faulty", "3 jobs in a row could not be set up: no space left")
    status, message, remedy = only(new_bench(mode=lambda: faulty), "agent")
    assert (status, "no space left" in message, "edge-agent resume" in remedy) == ("failure", True, True)


def test_an_agent_that_takes_no_jobs_by_itself_is_a_failure(new_bench: NewBench) -> None:
    status, message, _ = only(new_bench(mode=lambda: Mode("ready", held="outbox: full")), "agent")
    assert (status, message) == ("failure", "it takes no new jobs for now: outbox: full")


def test_where_jobs_need_no_container_a_process_is_tried(new_bench: NewBench) -> None:
    bench = new_bench(profile=UNABLE, trusted=True)
    assert only(bench, "runtime")[0] == "warning"
    assert only(bench, "container") == ("ok", "a test process ran", "")
    broken = new_bench(profile=UNABLE, trusted=True, canary=failing(HostFault("no holder")))
    assert only(broken, "container")[:2] == ("failure", "no holder")


def test_findings_can_be_written_as_json(new_bench: NewBench) -> None:
    rows = msgspec.to_builtins(list(examine(new_bench())))
    assert {tuple(row) for row in rows} == {("check", "status", "message", "remedy")}


def test_a_check_that_raises_has_failed_and_the_others_go_on(new_bench: NewBench) -> None:
    bench = new_bench(prepare=failing(Unavailable("/srv: read-only")), store_problems=failing(StoreUnavailable("away")))
    failures = [finding for finding in examine(bench) if finding.status == "failure"]
    assert [(finding.check, finding.message) for finding in failures] == [
        ("state-dir", "/srv: read-only"),
        ("results", "away"),
    ]
    assert only(bench, "clock")[0] == "ok"


# --- this host --------------------------------------------------------------------------------------------------------


def test_a_state_directory_that_cannot_be_written_to_fails(new_bench: NewBench, tmp_path: Path) -> None:
    status, message, remedy = only(new_bench(state_dir=tmp_path / "gone"), "state-dir")
    assert (status, message) == ("failure", f"this user cannot write to {tmp_path / 'gone'}")
    assert "agent.state_dir" in remedy


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_state_directory_whose_disk_fails_is_noticed_by_writing_there(
    new_bench: NewBench, tmp_path: Path, call: str
) -> None:
    bench = new_bench(state_dir=tmp_path)
    status, message, remedy = refusing({call: errno.EIO}, lambda: only(bench, "state-dir"))
    assert (status, message) == ("failure", f"a file in {tmp_path} cannot be written: Input/output error")
    assert "disk" in remedy
    assert refusing({call: errno.ENOSPC}, lambda: only(bench, "state-dir"))[0] == "ok", "that is for another check"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "status", "said"),
    [
        (GIB, "ok", "1 GiB above the reserve"),
        (GIB - 1024**2, "warning", "only 1023 MiB above the reserve"),
        (0, "failure", "0 B short of the reserve"),
        (-2 * GIB, "failure", "2 GiB short of the reserve"),
    ],
)
def test_disk(new_bench: NewBench, free: int, status: str, said: str) -> None:
    answer = only(new_bench(free_disk=lambda: free), "disk")
    assert answer[0] == status
    assert answer[1].startswith(said)
    assert bool(answer[2]) == (status != "ok")


def test_without_a_runtime_the_probe_says_why_and_no_container_is_tried(new_bench: NewBench) -> None:
    bench = new_bench(profile=UNABLE, canary=failing(AssertionError("tried")))
    assert only(bench, "runtime") == ("failure", "no apptainer on PATH", "install apptainer")
    assert found(bench, "container") == []


def test_a_runtime_that_the_probe_has_no_words_for_fails_all_the_same(new_bench: NewBench) -> None:
    status, _, remedy = only(new_bench(profile=Capabilities()), "runtime")
    assert (status, remedy) == ("failure", "install apptainer")


@pytest.mark.parametrize(
    ("inside", "outside", "status", "said"),
    [
        (FILTERED, "Seccomp:\t0\nSeccomp_filters:\t0\n", "ok", "under the agent's filter"),
        (FILTERED, FILTERED, "warning", "without the agent's filter"),
        ("WARNING: seccomp requested but not enabled\nSeccomp:\t0\n", "Seccomp:\t0\n", "warning", "without"),
        ("", "", "warning", "without"),
        ("Seccomp:\t2\n", "Seccomp:\t2\n", "ok", "cannot be told"),
    ],
    ids=["applied", "inherited", "ignored", "no-seccomp", "not-told"],
)
def test_a_container_without_the_filter_of_system_calls_is_warned_of(
    new_bench: NewBench, inside: str, outside: str, status: str, said: str
) -> None:
    host = FakeHost({"/proc/self/status": outside}, **WELL)
    ran, filtered = found(new_bench(host=host, canary=lambda: inside), "container")
    assert (ran.status, filtered.check, filtered.status) == ("ok", "container filter", status)
    assert said in filtered.message
    assert ("libseccomp" in filtered.remedy) == (status == "warning")


def test_a_process_without_a_container_is_under_no_filter_and_nobody_says_so(new_bench: NewBench) -> None:
    assert [each.check for each in found(new_bench(profile=UNABLE, trusted=True), "container")] == ["container"]


def test_a_container_that_does_not_run_fails(new_bench: NewBench) -> None:
    status, message, remedy = only(new_bench(canary=failing(HostFault("ended as exited: no /proc"))), "container")
    assert (status, message) == ("failure", "ended as exited: no /proc")
    assert "apptainer exec" in remedy


@pytest.mark.parametrize(
    ("file", "value", "status"),
    [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "failure"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "1", "ok"),
        ("/proc/sys/user/max_user_namespaces", "0", "failure"),
        ("/proc/sys/user/max_user_namespaces", "15000", "ok"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "warning"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0", "ok"),
    ],
)
def test_user_namespaces(new_bench: NewBench, file: str, value: str, status: str) -> None:
    files = {file: f"{value}\n"}
    answer = only(new_bench(host=FakeHost(files, **WELL)), "user-namespaces")
    assert answer[0] == status
    assert bool(answer[2]) == (status != "ok")
    root = FakeHost(files, **{**WELL, "uid": 0})
    assert only(new_bench(host=root), "user-namespaces")[:2] == ("ok", "not needed as root")


def test_without_fuse_only_root_can_mount_images(new_bench: NewBench) -> None:
    status, message, remedy = only(new_bench(host=FakeHost(**{**WELL, "fuse": "ENOENT"})), "fuse")
    assert (status, message) == ("failure", "there is no /dev/fuse (ENOENT)")
    assert "modprobe fuse" in remedy
    assert only(new_bench(host=FakeHost(**{**WELL, "fuse": "ENOENT", "uid": 0})), "fuse")[0] == "ok"


def test_limits_that_are_best_effort_are_a_doubt_with_the_reason(new_bench: NewBench) -> None:
    assert only(new_bench(), "limits") == ("ok", "limits are exact", "")
    status, message, remedy = only(new_bench(host=FakeHost(**{**WELL, "limits_test": {"step": "tree"}})), "limits")
    assert (status, message) == ("warning", "limits are best effort: there is no cgroup v2 tree")
    assert remedy


# --- servers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["queue", "results"])
@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (ForgetfulRecords, "failure", "cannot be read"),
        (CarelessRecords, "warning", "conditional writes are ignored"),
        (StickyRecords, "failure", "cannot be deleted"),
    ],
)
def test_a_store_that_breaks_a_promise_is_told(
    new_bench: NewBench, check: str, kind: type[FakeRecords], status: str, said: str
) -> None:
    part = {"queue": "records", "results": "results"}[check]
    bench = new_bench(queues={}, **{part: {"lab": lambda: kind(FakeClock())}})
    answer = only(bench, check)
    assert answer[0] == status
    assert said in answer[1]
    assert answer[2]


@pytest.mark.parametrize("check", ["queue", "results"])
def test_a_store_that_is_away_fails(new_bench: NewBench, check: str) -> None:
    records = FakeRecords(FakeClock())
    records.down = True
    part = {"queue": "records", "results": "results"}[check]
    status, message, _ = only(new_bench(queues={}, **{part: {"lab": lambda: records}}), check)
    assert (status, message) == ("failure", "memory: the record store is down; set down = False")


def test_the_records_of_the_checks_are_gone_afterwards(new_bench: NewBench) -> None:
    records = FakeRecords(FakeClock())
    list(examine(new_bench(records={"lab": lambda: records}, results={"lab": lambda: records})))
    assert records.list("") == msgspec.structs.replace(records.list(""), records={}, prefixes=())


def test_a_queue_whose_rights_are_missing_fails_under_its_name(new_bench: NewBench) -> None:
    bench = new_bench(queues={"cloud": failing(Unavailable("pubsub.topics.publish is missing"))})
    failures = [finding for finding in examine(bench) if finding.status == "failure"]
    assert [(finding.check, finding.message) for finding in failures] == [
        ("queue cloud", "pubsub.topics.publish is missing")
    ]


def test_what_is_known_to_be_wrong_with_a_store_is_a_warning(new_bench: NewBench) -> None:
    bench = new_bench(store_problems=lambda: [Problem("s3", "it ignores conditions", "use another")])
    assert [(finding.status, finding.message) for finding in found(bench, "results")] == [
        ("ok", "written once, read and deleted"),
        ("warning", "it ignores conditions"),
    ]


def test_artifacts_that_are_away_or_change_fail(new_bench: NewBench) -> None:
    away = FakeArtifacts()
    away.down = True
    assert only(new_bench(artifacts=lambda: away), "artifacts")[0] == "failure"
    assert only(new_bench(artifacts=failing(StoreUnavailable("no such file"))), "artifacts")[1] == "no such file"
    status, message, _ = only(new_bench(artifacts=BrokenArtifacts), "artifacts")
    assert status == "failure"
    assert "something else than was written" in message


def test_the_broker_is_tried_where_there_is_one(new_bench: NewBench) -> None:
    assert only(new_bench(broker=None), "broker")[:2] == ("ok", "none is configured; adverts go to the log")
    assert only(new_bench(broker=failing(BrokerRefused("bad password"))), "broker")[:2] == ("failure", "bad password")


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        (29.0, "ok", "agrees"),
        (-29.0, "ok", "agrees"),
        (31.0, "warning", "31 s ahead of this host's clock"),
        (-4000.0, "warning", "4000 s behind this host's clock"),
    ],
)
def test_clocks(new_bench: NewBench, ahead: float, status: str, said: str) -> None:
    answer = only(new_bench(clocks={"http://store": lambda: ahead}), "clock")
    assert answer[0] == status
    assert said in answer[1]


def test_one_clock_that_does_not_answer_leaves_the_other(new_bench: NewBench) -> None:
    clocks = {"a": failing(StoreUnavailable("a does not answer")), "b": lambda: 0.0}
    assert _statuses(found(new_bench(clocks=clocks), "clock")) == ["failure", "ok"]


def _statuses(findings: Iterable[Finding]) -> list[str]:
    return [finding.status for finding in findings]
