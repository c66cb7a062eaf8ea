"""The NVML child over a library that does what a scenario says, through the real pynvml."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.host import LiveHost

_SOURCE = Path(__file__).parents[1] / "nvml_stub.c"
_TWO = """\
init 0 ok
driver 0 550.54.15
cuda 0 12040
count 0 2
name 0 NVIDIA A10
uuid 0 GPU-a
pci 0 00000000:01:00.0
memory 0 24146608128
capability 0 8 6
process 0 4711
name 1 NVIDIA A100
uuid 1 GPU-b
pci 1 00000000:02:00.0
memory 1 42949672960
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "there is no C compiler; packaging/install-test-tools.sh installs one"
    folder = tmp_path_factory.mktemp("nvml")
    output = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-o", str(output), str(_SOURCE)], check=True)
    return folder


@pytest.fixture
def ask(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def answer(scenario: str, timeout: float = 20.0) -> Any:
        (tmp_path / "scenario").write_text(scenario)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
        monkeypatch.setenv("NVML_SCENARIO", str(tmp_path / "scenario"))
        return LiveHost(state_dir=tmp_path, nvml_timeout=timeout).query("nvml")

    return answer


def test_all_answers_are_in_the_form_of_recordings(ask: Any) -> None:
    answer = ask(_TWO)
    assert {key: answer[key] for key in ("init", "driver_version", "cuda_driver_version", "count")} == {
        "init": "ok",
        "driver_version": "550.54.15",
        "cuda_driver_version": 12040,
        "count": 2,
    }
    first = answer["devices"][0]
    assert (first["name"], first["uuid"], first["pci_info"]) == ("NVIDIA A10", "GPU-a", "00000000:01:00.0")
    assert first["memory_info"]["total_bytes"] == 24146608128
    assert (first["cuda_compute_capability"], first["processes"]) == ([8, 6], [4711])
    assert (first["mig_mode"], first["addressing_mode"]) == ("NotSupported", "FunctionNotFound")


@pytest.mark.parametrize(
    ("code", "name"),
    [(18, "LibRmVersionMismatch"), (9, "DriverNotLoaded"), (4, "NoPermission"), (999, "Unknown"), (777, "Unknown")],
)
def test_a_library_that_does_not_start_says_why(ask: Any, code: int, name: str) -> None:
    assert ask(f"init 0 !{code}\n") == {"init": name}


def test_a_gpu_that_is_lost_hides_no_other(ask: Any) -> None:
    devices = ask(f"handle 0 !15\n{_TWO}")["devices"]
    assert devices[0] == {"handle": "GpuIsLost"}
    assert devices[1]["uuid"] == "GPU-b"


def test_a_gpu_that_falls_off_in_the_middle_keeps_what_it_said_before(ask: Any) -> None:
    devices = ask("".join(f"{field} 0 !15\n" for field in ("memory", "capability", "process")) + _TWO)["devices"]
    assert (devices[0]["uuid"], devices[0]["memory_info"], devices[0]["processes"]) == ("GPU-a", *["GpuIsLost"] * 2)
    assert devices[1]["memory_info"]["total_bytes"] == 42949672960


def test_instances_are_listed_and_empty_places_left_out(ask: Any) -> None:
    instances = "mig 1 1 1\ninstances 1 7\nuuid 200 MIG-1\nmemory 200 5100273664\nuuid 203 MIG-2\ngi 203 9\n"
    first, second = ask(_TWO + instances)["devices"][1]["mig_devices"]
    assert (first["uuid"], first["memory_mib"], second["uuid"], second["gi"]) == ("MIG-1", 4864, "MIG-2", 9)


@pytest.mark.parametrize("where", ["init 0", "temp 1"])
def test_a_driver_that_hangs_is_given_up(ask: Any, where: str) -> None:
    assert ask(f"{where} hang\n{_TWO}", timeout=1.0) == {"init": "Timeout"}


@pytest.mark.parametrize("where", ["init 0", "temp 1"])
def test_a_driver_that_crashes_harms_nobody(ask: Any, where: str) -> None:
    assert ask(f"{where} crash\n{_TWO}") == {"init": "Crashed"}
