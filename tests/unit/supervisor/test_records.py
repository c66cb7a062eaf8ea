from __future__ import annotations

from typing import Any

import pytest
from agent.supervisor import processes
from agent.supervisor.client import Usage, parse_exit
from agent.supervisor.processes import Identity
from agent.supervisor.records import parse_run

RUN: dict[str, Any] = {
    "version": 1,
    "attempt": "a",
    "boot_id": "0b2c",
    "waiter": {"pid": 7, "starttime": 70},
    "container": {"pid": 8, "starttime": 80, "later": None},
    "cgroup": None,
    "started_at": 1.5,
    "log": "/log",
    "later": 1,
}
EXIT: dict[str, Any] = {
    "version": 1,
    "attempt": "a",
    "exit_code": 3,
    "signal": None,
    "why": "exited",
    "error": None,
    "started": True,
    "started_at": 1.5,
    "ended_at": 2.5,
    "elapsed_s": 1.0,
    "log_bytes": 4,
    "log_truncated": False,
    "rusage": {"user_s": 0.1, "system_s": 0.2, "max_rss_bytes": 5, "later": 1},
    "oom": False,
    "later": 1,
}


def test_run_of_this_version_or_a_later_one_is_read() -> None:
    run = parse_run(RUN)
    assert (run.waiter, run.container) == (Identity(7, 70), Identity(8, 80))
    assert not run.of_this_boot
    assert parse_run({**RUN, "boot_id": processes.boot_id()}).of_this_boot


@pytest.mark.parametrize("key", ["attempt", "boot_id", "waiter", "container", "started_at", "log"])
def test_run_without_a_needed_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"run.json has no '{key}'"):
        parse_run({name: value for name, value in RUN.items() if name != key})


def test_run_with_a_value_of_a_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong kind"):
        parse_run({**RUN, "waiter": 5})


def test_result_of_this_version_or_a_later_one_is_read() -> None:
    result = parse_exit(EXIT)
    assert (result.exit_code, result.started, result.system_s, result.max_rss_bytes) == (3, True, 0.2, 5)


def test_result_without_a_needed_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"exit\.json has no 'why'"):
        parse_exit({name: value for name, value in EXIT.items() if name != "why"})


def test_result_of_an_earlier_release_tells_what_its_reaped_processes_used() -> None:
    assert parse_exit(EXIT).usage == Usage(0.1, 0.2, 5, 1.0)


def test_use_is_what_the_waiter_measured() -> None:
    usage = {"user_s": 3.0, "system_s": 1.0, "peak_memory_bytes": 70, "wall_s": 2.0}
    assert parse_exit({**EXIT, "usage": {**usage, "later": 1}}).usage == Usage(3.0, 1.0, 70, 2.0)
    with pytest.raises(ValueError, match=r"exit\.json has no 'wall_s'"):
        parse_exit({**EXIT, "usage": {"user_s": 3.0, "system_s": 1.0, "peak_memory_bytes": 70}})
