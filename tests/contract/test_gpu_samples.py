"""How GPUs are used, by the child over a library that does what a scenario says, and by the fake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.nvml_samples import COMMAND, NvmlSamples
from agent.errors import Unavailable
from agent.model.gpu_use import OfProcess, Sample, UnitSample
from agent.ports import GpuSamples
from agent.supervisor.processes import boot_id, identify

from tests.fakes import FakeGpuSamples
from tests.nvml_library import build_nvml
from tests.waiting import wait_until

EVERY = 0.02
GIB = 1024**3
_TWO = f"""\
init 0 ok
uuid 0 GPU-a
memory 0 {24 * GIB}
used 0 {2 * GIB}
use 0 40
uuid 1 GPU-b
memory 1 {40 * GIB}
used 1 {GIB}
mig 1 1 1
uuid 200 MIG-1
memory 200 {5 * GIB}
used 200 {GIB}
"""


class Driver:
    """A driver that does what its scenario says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def does(self, scenario: str) -> None:
        """Let it do something else from now on."""
        new = self._folder / "scenario.new"
        new.write_text(scenario)
        new.rename(self._folder / "scenario")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nvml(tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1").parent


@pytest.fixture
def driver(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("NVML_SCENARIO", str(tmp_path / "scenario"))
    return Driver(tmp_path)


@pytest.fixture
def new_samples(tmp_path: Path, driver: Driver) -> Iterator[Callable[..., NvmlSamples]]:
    made: list[NvmlSamples] = []

    def new(patience: float = 60.0) -> NvmlSamples:
        made.append(NvmlSamples(tmp_path, every=EVERY, patience=patience))
        return made[-1]

    yield new
    for samples in made:
        samples.end()


@pytest.fixture
def samples(new_samples: Callable[..., NvmlSamples]) -> NvmlSamples:
    return new_samples()


def newest(samples: GpuSamples, *units: str) -> Sample:
    """Wait for samples; return the last one."""
    found: list[Sample] = []

    def has_come() -> bool:
        found.extend(samples.read(units))
        return bool(found)

    wait_until(has_come, 30, "a sample")
    return found[-1]


def until(samples: GpuSamples, unit: str, is_so: Callable[[UnitSample], bool]) -> None:
    """Wait until a sample of the unit shows it."""
    wait_until(lambda: any(is_so(each[unit]) for each in samples.read([unit])), 30, "such a sample")


def problem(samples: GpuSamples, *units: str) -> str:
    """Wait until it is said that there will be no samples; return why."""
    told: list[str] = []

    def is_told() -> bool:
        try:
            samples.read(units)
        except Unavailable as error:
            told.append(str(error))
        return bool(told)

    wait_until(is_told, 30, "a problem")
    return told[0]


def children() -> list[int]:
    """Return the processes that sample for this test."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    pids = {int(pid) for pid in (*found, *(pid for each in threads for pid in each))}
    return [pid for pid in sorted(pids) if b"agent.nvml_sampling" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# --- what both do ---


@pytest.fixture(params=["fake", "nvml"])
def either(request: pytest.FixtureRequest) -> Any:
    if request.param == "nvml":
        request.getfixturevalue("driver").does(_TWO)
        return request.getfixturevalue("samples")
    fake = FakeGpuSamples()
    fake.coming = [{"GPU-a": UnitSample(memory_bytes=2 * GIB, utilization=0.4)}]
    return fake


def test_what_is_asked_for_is_sampled_until_it_is_ended(either: GpuSamples) -> None:
    sample = newest(either, "GPU-a")
    assert set(sample) == {"GPU-a"}
    assert (sample["GPU-a"].memory_bytes, sample["GPU-a"].utilization) == (2 * GIB, 0.4)
    either.end()
    either.end()
    assert children() == []


def test_a_process_of_nobody_here_has_no_owner(either: GpuSamples) -> None:
    assert either.owner(os.getpid()) is None


# --- what NVML says ---


def test_units_are_sampled_by_their_names_parts_of_a_gpu_too(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(_TWO)
    sample = newest(samples, "GPU-a", "MIG-1")
    assert (sample["GPU-a"].memory_bytes, sample["GPU-a"].utilization) == (2 * GIB, 0.4)
    assert (sample["MIG-1"].memory_bytes, sample["MIG-1"].utilization) == (GIB, None)


def test_processes_are_told_with_their_memory_and_utilization(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(f"process 0 4711 {GIB}\nshares 0 4711 25\nprocess 1 4712 {GIB}\n{_TWO}")
    sample = newest(samples, "GPU-a", "GPU-b")
    assert sample["GPU-a"].processes == {4711: OfProcess(GIB, 0.25)}
    assert sample["GPU-a"].by_process
    assert sample["GPU-b"].processes == {4712: OfProcess(GIB, None)}, "a GPU that does not tell their utilization"
    assert not sample["GPU-b"].by_process


def test_a_process_that_does_nothing_is_told_as_idle(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(f"process 0 4711 {GIB}\nshares 0 none\n{_TWO}")
    assert newest(samples, "GPU-a")["GPU-a"].processes == {4711: OfProcess(GIB, 0.0)}


def test_samples_show_what_is_at_their_time(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(_TWO)
    assert newest(samples, "GPU-a")["GPU-a"].memory_bytes == 2 * GIB
    driver.does(_TWO.replace(f"used 0 {2 * GIB}", f"used 0 {3 * GIB}"))
    until(samples, "GPU-a", lambda unit: unit.memory_bytes == 3 * GIB)


def test_a_unit_that_does_not_answer_says_why_and_hides_no_other(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(f"handle 0 !15\n{_TWO}")
    sample = newest(samples, "GPU-a", "GPU-b")
    assert sample["GPU-a"] == UnitSample(error="GpuIsLost")
    assert sample["GPU-b"].memory_bytes == GIB


# --- the child ---


def test_one_child_samples_all_units_and_other_units_take_another_one(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(_TWO)
    newest(samples, "GPU-a", "GPU-b")
    first = children()
    newest(samples, "GPU-a", "GPU-b")
    assert children() == first
    newest(samples, "GPU-a")
    assert len(children()) == 1
    assert children() != first


def test_a_library_that_does_not_start_says_why(driver: Driver, samples: NvmlSamples) -> None:
    driver.does("init 0 !9\n")
    assert "DriverNotLoaded" in problem(samples, "GPU-a")
    assert children() == []


def test_a_driver_that_crashes_takes_the_child_alone(driver: Driver, samples: NvmlSamples) -> None:
    driver.does(_TWO)
    newest(samples, "GPU-a")
    driver.does(f"used 0 crash\n{_TWO}")
    assert "ended" in problem(samples, "GPU-a")
    driver.does(_TWO)
    assert newest(samples, "GPU-a")["GPU-a"].memory_bytes == 2 * GIB


def test_a_driver_that_hangs_is_given_up_and_its_child_killed(
    driver: Driver, new_samples: Callable[..., NvmlSamples]
) -> None:
    samples = new_samples(patience=0.5)
    driver.does(f"init 0 hang\n{_TWO}")
    assert "has not answered for 0.5 s" in problem(samples, "GPU-a")
    assert children() == []


@pytest.mark.parametrize("scenario", [_TWO, f"use 0 hang\n{_TWO}"], ids=["idle", "hanging"])
def test_the_child_ends_with_whoever_started_it(driver: Driver, scenario: str) -> None:
    driver.does(scenario)
    command = [*COMMAND, "60", "GPU-a"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.communicate(timeout=30)
    assert child.returncode == 0


# --- whose processes ---


def test_a_process_belongs_to_the_attempt_whose_waiter_it_descends_from(
    driver: Driver, samples: NvmlSamples, tmp_path: Path
) -> None:
    sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    waiter = subprocess.Popen([sys.executable, "-c", sleeper], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waiter.stdout is not None
    waiter.stdout.readline()
    payload = int(Path(f"/proc/{waiter.pid}/task/{waiter.pid}/children").read_text())
    identity = identify(waiter.pid)._asdict()
    run = {"attempt": "a.1", "boot_id": boot_id(), "waiter": identity, "container": identity}
    for name, told in (("a.1", run), ("b.1", {**run, "boot_id": "of another start"}), ("c.1", {})):
        (tmp_path / "attempts" / name).mkdir(parents=True)
        text = json.dumps({**told, "cgroup": None, "started_at": 1.0, "log": "log"})
        (tmp_path / "attempts" / name / "run.json").write_text(text)
    try:
        assert samples.owner(payload) == "a.1"
        assert samples.owner(os.getpid()) is None
    finally:
        waiter.communicate(timeout=30)
    assert samples.owner(payload) is None
