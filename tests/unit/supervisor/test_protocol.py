from __future__ import annotations

from typing import Any

import pytest
from agent.supervisor import protocol
from agent.supervisor.holder import Usage, parse_arguments
from agent.supervisor.limits import Limits

GOOD: dict[str, Any] = {
    "version": 1,
    "attempt": "a-1",
    "directory": "/state/attempts/a-1",
    "argv": ["/usr/bin/apptainer", "exec"],
    "env": {"A": "secret"},
    "cwd": "/",
    "log_limit_bytes": 10,
    "timeout_s": 1.5,
    "grace_s": 2,
    "cgroup": "/sys/fs/cgroup/x",
    "rlimits": {"core": 0, "nofile": -1},
    "oom_score_adj": -5,
    "memory_bytes": 7,
    "marker": True,
    "limits": {
        "cpus": 0.5,
        "memory_bytes": 8,
        "pids": 9,
        "disk_bytes": 10,
        "disk_paths": ["/state/a"],
        "groups": {"memory": "/sys/fs/cgroup/memory/x"},
        "exact": True,
        "disk_floor_bytes": 11,
    },
    "of a later version": 1,
}


def test_spec_is_read_and_unknown_keys_are_ignored() -> None:
    spec = protocol.parse_spec(GOOD)
    read = spec._asdict()
    limits = read.pop("limits")
    assert read == {key: GOOD[key] for key in read}
    assert limits._asdict() == {**GOOD["limits"], "disk_paths": ("/state/a",)}


def test_an_agent_of_an_earlier_release_sets_no_limits() -> None:
    assert protocol.parse_spec({key: GOOD[key] for key in GOOD if key != "limits"}).limits == Limits()


def test_what_may_be_absent_is_null() -> None:
    needed = ("version", "attempt", "directory", "argv", "env", "cwd", "log_limit_bytes", "grace_s")
    spec = protocol.parse_spec({key: GOOD[key] for key in needed})
    assert (spec.timeout_s, spec.cgroup, spec.rlimits, spec.oom_score_adj) == (None, None, {}, None)
    assert (spec.memory_bytes, spec.marker) == (None, False)


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("version", 2, "spec.version is 2; this holder understands 1"),
        ("attempt", "../x", "spec.attempt is '../x', not 1 to 128 letters, digits and . _ -, not first a dot"),
        ("attempt", "", "spec.attempt is ''"),
        ("directory", "relative", "spec.directory is 'relative', not an absolute path"),
        ("argv", [], "spec.argv is not a list of one or more texts without NUL"),
        ("argv", ["sh"], "spec.argv[0] is 'sh', not the absolute path of a program"),
        ("argv", ["/bin/sh", "a\0b"], "spec.argv is not a list"),
        ("cwd", 5, "spec.cwd is 5, not an absolute path"),
        ("grace_s", -1, "spec.grace_s is -1, not a number of 0 or more"),
        ("grace_s", float("nan"), "spec.grace_s is nan"),
        ("timeout_s", "5", "spec.timeout_s is '5'"),
        ("log_limit_bytes", True, "spec.log_limit_bytes is True"),
        ("cgroup", "x", "spec.cgroup is 'x', not an absolute path"),
        ("rlimits", {"cores": 1}, "spec.rlimits names 'cores', which this system does not know"),
        ("rlimits", {"core": 1.5}, "spec.rlimits.core is 1.5, not a whole number"),
        ("oom_score_adj", -1001, "spec.oom_score_adj is -1001"),
        ("limits", [], "spec.limits is a list, not an object"),
        ("limits", {"cpus": "2"}, "spec.limits.cpus is '2', not a number"),
        ("limits", {"memory_bytes": -1}, "spec.limits.memory_bytes is -1"),
        ("limits", {"disk_paths": ["x"]}, "spec.limits.disk_paths is not a list of absolute paths"),
        ("limits", {"groups": {"cpu": "x"}}, "spec.limits.groups is not an object of absolute paths"),
        ("limits", {"exact": 1}, "spec.limits.exact is 1, not true or false"),
        ("marker", 1, "spec.marker is 1, not true or false"),
    ],
)
def test_bad_value_is_named_with_what_would_be_right(key: str, value: object, error: str) -> None:
    with pytest.raises(protocol.BadRequest) as raised:
        protocol.parse_spec({**GOOD, key: value})
    assert error in str(raised.value)


@pytest.mark.parametrize("env", [{"A=B": "secret"}, {"A": "secret\0"}, {"A": 5}, ["secret"], None])
def test_bad_environment_is_refused_without_showing_it(env: object) -> None:
    with pytest.raises(protocol.BadRequest, match=r"spec\.env is not an object") as raised:
        protocol.parse_spec({**GOOD, "env": env})
    assert "secret" not in str(raised.value)


def test_missing_value_is_named() -> None:
    with pytest.raises(protocol.BadRequest, match=r"spec\.argv is missing"):
        protocol.parse_spec({key: value for key, value in GOOD.items() if key != "argv"})


def test_arguments_of_the_holder_are_read() -> None:
    assert parse_arguments(["/s"]) == ("/s", None, False)
    assert parse_arguments(["/s", "--idle-exit", "30", "--detach"]) == ("/s", 30.0, True)


@pytest.mark.parametrize("arguments", [[], ["--idle-exit", "3"], ["/s", "--idle-exit", "x"], ["/s", "/t"]])
def test_wrong_arguments_are_answered_with_the_usage(arguments: list[str]) -> None:
    with pytest.raises(Usage, match="usage: holder STATE_DIR"):
        parse_arguments(arguments)
