"""Limits where they are exact: a guest with cgroup v2. See inside_limits.py for what the jobs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system import guest

# The guest is started in the first test, and is slow where others work on this machine.
pytestmark = pytest.mark.timeout(guest.BOOT_TIMEOUT + 60)
SCENARIOS = ("root", "delegated")
PIDS = 40


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each scenario saw; the guest runs once."""
    folder = tmp_path_factory.mktemp("guest")
    guest.build(folder / "initramfs", Path(__file__).with_name("inside_limits.py"))
    printed = guest.boot(folder / "initramfs", folder / "console", folder / "answer")
    found = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert {each["scenario"] for each in found} == set(SCENARIOS), printed + (folder / "console").read_text()
    return {each["scenario"]: each for each in found}


@pytest.fixture(params=SCENARIOS)
def seen(request: pytest.FixtureRequest, answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What one scenario saw."""
    found = answers[request.param]
    assert "error" not in found, found["error"]
    return found


def test_the_self_test_finds_limits_exact_though_the_agent_is_in_the_way(seen: dict[str, Any]) -> None:
    assert seen["self-test"] == {"step": "done"}
    assert seen["place"]["exact"]
    assert seen["place"]["own"].endswith("/edge-agent-own")


def test_a_plain_user_is_one(answers: dict[str, dict[str, Any]]) -> None:
    assert [answers[name]["place"]["uid"] for name in SCENARIOS] == [0, 1000]


def test_cpu_time_is_what_was_asked_for(seen: dict[str, Any]) -> None:
    assert seen["cpu"]["set"]["cpu.max"] == "25000 100000"
    assert seen["cpu"]["exit_code"] == 0
    assert 0.1 < float(seen["cpu"]["log"]) < 0.4


@pytest.mark.parametrize("job", ["memory", "orphan"])
def test_out_of_memory_ends_the_whole_job_and_is_said(seen: dict[str, Any], job: str) -> None:
    """Of the orphan the holder was killed first."""
    assert seen[job]["set"]["memory.max"] == str(64 * 1024**2)
    assert seen[job]["set"]["memory.oom.group"] == "1"
    assert seen[job]["why"] == "memory"
    assert "survived" not in seen[job]["log"]


def test_shared_memory_counts_once(seen: dict[str, Any]) -> None:
    assert (seen["shared"]["why"], seen["shared"]["log"]) == ("exited", "fine")


def test_processes_are_counted_by_the_kernel(seen: dict[str, Any]) -> None:
    assert seen["forks"]["set"]["pids.max"] == str(PIDS)
    assert seen["forks"]["log"] == str(PIDS - 1)


def test_a_fork_bomb_ends_with_its_job(seen: dict[str, Any]) -> None:
    assert seen["bomb"]["why"] == "timeout"


def test_no_group_of_a_job_is_left(seen: dict[str, Any]) -> None:
    jobs = ("cpu", "memory", "orphan", "shared", "forks", "bomb")
    assert [seen[job]["group_left"] for job in jobs] == [False] * len(jobs)
    assert seen["place"]["left"] == []
