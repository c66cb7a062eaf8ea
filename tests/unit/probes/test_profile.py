from __future__ import annotations

import json
import os
from pathlib import Path

from agent.adapters.host import LiveHost
from agent.model.capabilities import SCHEMA, Capabilities, Problem
from agent.probes import PROBES, probe_host

from tests.unit.probes.fakehost import FakeHost


def test_a_probe_that_fails_is_a_problem_and_stops_no_other() -> None:
    files = {"/sys/devices/system/cpu/online": "zero", "/proc/meminfo": "MemTotal:       1024 kB\n"}
    profile = probe_host(FakeHost(files), host_id="a")
    assert profile.memory.total_bytes == 1024 * 1024
    assert profile.cpu.arch is None
    assert [problem.probe for problem in profile.problems] == ["cpu"]
    assert "zero" in profile.problems[0].message
    assert profile.problems[0].remedy


def test_a_host_without_runtime_keeps_what_the_kernel_emulates() -> None:
    files = {"/proc/sys/fs/binfmt_misc/status": "enabled\n"}
    profile = probe_host(FakeHost(files, runtime_version=""), host_id="a")
    assert profile.runtime.name is None
    assert profile.runtime.emulated == ()
    assert [problem.probe for problem in profile.problems] == ["runtime"]


def test_the_configured_id_and_labels_are_shown() -> None:
    profile = probe_host(FakeHost(), {"site": "lab"}, "bench-3", (Problem("labels", "odd"),))
    assert profile.host.id == "bench-3"
    assert profile.labels == {"site": "lab"}
    assert profile.problems == (Problem("labels", "odd"),)


def test_a_host_without_machine_id_says_so() -> None:
    assert [problem.probe for problem in probe_host(FakeHost()).problems] == ["host"]


def test_every_probe_fills_a_part_of_the_profile() -> None:
    assert {section for _, section, _ in PROBES} <= set(Capabilities.__struct_fields__)


def test_this_machine_is_seen_with_every_key(tmp_path: Path) -> None:
    profile = probe_host(LiveHost(state_dir=tmp_path))
    table = json.loads(json.dumps(profile.table()))
    assert table["schema"] == SCHEMA
    assert set(table) == set(Capabilities.__struct_fields__)
    assert table["cpu"]["kernel_machine"] == os.uname().machine
    assert table["cpu"]["effective"] <= len(os.sched_getaffinity(0))
    assert 0 < table["memory"]["effective_bytes"] <= table["memory"]["total_bytes"]
    assert table["storage"]["path"] == str(tmp_path)
