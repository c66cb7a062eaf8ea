"""The command `edge-agent probe`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from agent.model.capabilities import Capabilities

from tests.hosts import RECORDED


def command(*args: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "agent", "probe", *map(str, args)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_json_has_every_key_and_says_null_for_what_is_unknown() -> None:
    done = command("--root", RECORDED / "rpi4-mixed-32on64", "--json")
    table = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(table) == set(Capabilities.__struct_fields__)
    assert (table["cpu"]["arch"], table["cpu"]["kernel_machine"], table["cpu"]["level"]) == ("arm", "aarch64", None)
    assert table["gpus"] == []


def test_people_see_values_problems_and_remedies() -> None:
    lines = command("--root", RECORDED / "jetson-nano-r32").stdout.splitlines()
    assert any(line.split() == ["memory.total_bytes", "3.9", "GiB"] for line in lines)
    assert any(line.split() == ["cpu.models", "Cortex-A57"] for line in lines)
    assert "host: there is no machine id, so the host has no stable id" in lines
    assert any(line.startswith("  remedy: ") for line in lines)


def test_people_see_each_gpu_that_cannot_be_used_with_what_to_do() -> None:
    lines = command("--root", RECORDED / "x86-nvml-mismatch").stdout.splitlines()
    place = lines.index("gpu: nvidia 0000:01:00.0 cannot be used: driver-library-mismatch")
    assert lines[place + 1].startswith("  remedy: reboot: ")


def test_that_gpus_of_others_are_only_listed_is_no_problem() -> None:
    shown = command("--root", RECORDED / "x86-workstation-amdgpu").stdout
    assert "vendor-not-schedulable" in shown
    assert "gpu: " not in shown


def test_a_long_list_goes_on_in_the_lines_below() -> None:
    lines = command("--root", RECORDED / "x86-laptop-hp840g10").stdout.splitlines()
    assert max(map(len, lines)) <= 120
    first = next(number for number, line in enumerate(lines) if line.startswith("cpu.features"))
    assert lines[first + 1].startswith(" " * 20)


def test_a_root_that_is_not_there_is_wrong_use() -> None:
    done = command("--root", "/no/such/host")
    assert done.returncode == 2
    assert "/no/such/host" in done.stderr


@pytest.mark.parametrize("module", ["rich", "psutil", "sqlite3"])
def test_json_needs_nothing_heavy(module: str) -> None:
    code = (
        "import sys; from agent.cli import main\n"
        "try: main()\n"
        f"finally: sys.exit('{module} was imported' if '{module}' in sys.modules else 0)"
    )
    argv = [sys.executable, "-c", code, "probe", "--root", str(RECORDED / "rpi5"), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
