"""The NVML child over a library that does what a scenario says, through the real pynvml."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.host import LiveHost
from agent.board import Board
from agent.cli.config import warnings
from agent.config import Config
from agent.config.sections import AgentSection, ResourcesSection
from agent.gpu_watch import GpuWatch
from agent.ledger import Ledger
from agent.model.capabilities import Capabilities
from agent.model.share import Share
from agent.nvml import PATIENCE
from agent.presence import RETRY, Presence
from agent.probes import look_at_gpus, probe_host

from tests.fakes import FakeAdvertiser
from tests.nvml_library import build_nvml

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
_UNKNOWN = "resources.gpus: which GPUs this host has cannot be told now; `edge-agent doctor` says why"
_IDLE = _TWO.replace("process 0 4711\n", "")


NewLibrary = Callable[..., Path]


@pytest.fixture(scope="module")
def new_library(tmp_path_factory: pytest.TempPathFactory) -> NewLibrary:
    """A function that builds the library with the options given, and returns the folder it lies in."""

    def build(*options: str) -> Path:
        return build_nvml(tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1", *options).parent

    return build


@pytest.fixture(scope="module")
def library(new_library: NewLibrary) -> Path:
    return new_library()


class Driver:
    """A driver on a host, that does what its scenario says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def host(self, library: Path, timeout: float = 20.0, patience: float = PATIENCE) -> LiveHost:
        """Return the host; patience: the seconds after which devices that hang are given up."""
        self._monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
        self._monkeypatch.setenv("NVML_SCENARIO", str(self._folder / "scenario"))
        command = (sys.executable, "-m", "agent.nvml", str(patience))
        return LiveHost(self._folder / "root", state_dir=self._folder, nvml=command, nvml_timeout=timeout)

    def does(self, scenario: str) -> None:
        """Let it do something else from now on."""
        (self._folder / "scenario").write_text(scenario)

    def shows(self, *addresses: str) -> None:
        """Let the kernel module show GPUs at these addresses, and no other."""
        gpus = self._folder / "root/proc/driver/nvidia/gpus"
        shutil.rmtree(gpus, ignore_errors=True)
        for address in addresses:
            (gpus / address).mkdir(parents=True)
            (gpus / address / "information").write_text(f"Bus Location: {address}\n")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(tmp_path, monkeypatch)


@pytest.fixture
def ask(library: Path, driver: Driver) -> Any:
    def answer(scenario: str, **limits: float) -> Any:
        driver.does(scenario)
        return driver.host(library, **limits).query("nvml")

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
    assert (first["mig_mode"], first["addressing_mode"]) == ("NotSupported", "NotSupported")
    assert first["minor_number"] == "NotSupported"


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
    instances = "mig 1 1 1\ninstances 1 7\nuuid 200 MIG-1\nmemory 200 5100273664\nuuid 203 MIG-2\ngi 203 9\nci 203 1\n"
    first, second = ask(_TWO + instances)["devices"][1]["mig_devices"]
    assert (first["uuid"], first["memory_mib"], first["ci"]) == ("MIG-1", 4864, "NotSupported")
    assert (second["uuid"], second["gi"], second["ci"]) == ("MIG-2", 9, 1)


@pytest.mark.parametrize("where", ["init 0", "temp 1"])
def test_a_driver_that_hangs_is_given_up(ask: Any, where: str) -> None:
    assert ask(f"{where} hang\n{_TWO}", timeout=1.0) == {"init": "Timeout"}


def test_a_gpu_that_hangs_in_the_middle_keeps_what_it_said_before_and_hides_no_other(ask: Any) -> None:
    first, second = ask(f"capability 0 hang\n{_TWO}", patience=0.5)["devices"]
    assert (first["uuid"], first["pci_info"], first["error"]) == ("GPU-a", "00000000:01:00.0", "Timeout")
    assert "memory_info" not in first
    assert (second["uuid"], second["memory_info"]["total_bytes"]) == ("GPU-b", 42949672960)
    assert "error" not in second


def test_a_gpu_that_hangs_at_once_is_one_that_does_not_answer(ask: Any) -> None:
    assert ask(f"handle 1 hang\n{_TWO}", patience=0.5)["devices"][1] == {"error": "Timeout"}


@pytest.mark.parametrize("options", [(), ("-DOLD",)], ids=["new", "old"])
def test_what_slows_a_gpu_down_is_told_by_new_and_by_old_drivers(
    new_library: NewLibrary, driver: Driver, options: tuple[str, ...]
) -> None:
    driver.does(f"clocks 0 0x44\nclocks 1 !15\n{_TWO}")
    first, second = driver.host(new_library(*options)).query("nvml")["devices"]
    assert (first["clocks_event_reasons"], second["clocks_event_reasons"]) == (0x44, "GpuIsLost")


@pytest.mark.parametrize("where", ["init 0", "temp 1"])
def test_a_driver_that_crashes_harms_nobody(ask: Any, where: str) -> None:
    assert ask(f"{where} crash\n{_TWO}") == {"init": "Crashed"}


def _profile(library: Path, driver: Driver, scenario: str) -> Capabilities:
    driver.does(scenario)
    driver.shows("0000:01:00.0", "0000:02:00.0")
    return probe_host(driver.host(library, patience=0.5), host_id="a")


@pytest.mark.parametrize(
    ("change", "reason", "units"),
    [
        ("", None, ("GPU-a",)),
        ("mode 0 2", "compute-prohibited", ()),
        ("mode 0 3", None, ("GPU-a",)),
        ("process 0 4711", "busy-elsewhere", ()),
        ("handle 0 !4", "no-permission", ()),
        ("handle 0 !17", "no-permission", ()),
        ("handle 0 !15", "gpu-lost", ()),
        ("handle 0 !16", "gpu-lost", ()),
        ("handle 0 !11", "gpu-lost", ()),
        ("memory 0 !15", "gpu-lost", ()),
        ("uuid 0 !999", "gpu-lost", ()),
        ("temp 0 hang", "nvml-timeout", ()),
        ("mig 0 1 1\ninstances 0 7\nuuid 100 MIG-x\nuuid 102 MIG-y", None, ("MIG-x", "MIG-y")),
        ("mig 0 1 1\ninstances 0 7", None, ()),
        ("mig 0 0 1", None, ("GPU-a",)),
        ("power 0 !3\nminor 0 !3\ntemp 0 !4", None, ("GPU-a",)),
    ],
)
def test_a_profile_says_of_each_gpu_what_the_library_says_and_hides_no_other(
    library: Path, driver: Driver, change: str, reason: str | None, units: tuple[str, ...]
) -> None:
    first, second = _profile(library, driver, f"{change}\n{_IDLE}").gpus or ()
    assert (first.pci, first.usable, first.reason, first.units) == ("0000:01:00.0", reason is None, reason, units)
    assert bool(first.remedy) == (reason is not None)
    assert (second.pci, second.usable, second.units) == ("0000:02:00.0", True, ("GPU-b",))


@pytest.mark.parametrize(
    ("change", "kind", "memory_kind"),
    [
        ("", "discrete", "dedicated"),
        ("ats 0 2", "discrete", "dedicated-coherent"),
        ("ats 0 1", "discrete", "dedicated"),
        ("memory 0 !3\nname 0 NVIDIA GB10", "integrated-coherent", "shared"),
        ("memory 0 !3\nname 0 Orin (nvgpu)", "integrated", "shared"),
    ],
)
def test_a_profile_says_what_kind_of_memory_a_gpu_has(
    library: Path, driver: Driver, change: str, kind: str, memory_kind: str
) -> None:
    gpu = (_profile(library, driver, f"{change}\n{_IDLE}").gpus or ())[0]
    assert (gpu.kind, gpu.memory_kind) == (kind, memory_kind)


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("init 0 !18", "driver-library-mismatch"),
        ("init 0 !9", "no-driver"),
        ("init 0 !4", "no-permission"),
        ("init 0 !999", "no-permission"),
        ("init 0 ok\ncount 0 !4", "no-permission"),
        ("init 0 ok\ncount 0 0", "gpu-lost"),
    ],
)
def test_gpus_stay_in_the_profile_where_the_library_shows_none(
    library: Path, driver: Driver, scenario: str, reason: str
) -> None:
    gpus = _profile(library, driver, f"{scenario}\n").gpus or ()
    assert [(gpu.pci, gpu.usable, gpu.reason) for gpu in gpus] == [
        (address, False, reason) for address in ("0000:01:00.0", "0000:02:00.0")
    ]


@pytest.mark.parametrize(
    ("change", "wanted", "warned"),
    [
        ("", ("all",), None),
        ("", ("GPU-a", "GPU-b"), None),
        ("", ("GPU-a", "GPU-z"), 'resources.gpus[1]: this host has no GPU "GPU-z"; it has GPU-a, GPU-b'),
        ("mig 1 1 1\ninstances 1 7\nuuid 200 MIG-1", ("MIG-1", "GPU-b"), None),
        ("mode 0 2", ("GPU-a",), None),
        ("init 0 !9", ("GPU-a",), _UNKNOWN),
    ],
    ids=["all", "there", "another", "instance", "unusable", "no-driver"],
)
def test_gpus_that_are_to_be_given_and_are_not_there_are_warned_of(
    library: Path, driver: Driver, tmp_path: Path, change: str, wanted: tuple[str, ...], warned: str | None
) -> None:
    found = _profile(library, driver, f"{change}\n{_IDLE}").gpus
    config = Config(AgentSection(str(tmp_path)), ResourcesSection(gpus=wanted))
    told = [warning for warning in warnings(config, lambda config: found) if "resources.gpus" in warning]
    assert told == ([] if warned is None else [warned])


def test_where_there_is_no_gpu_one_that_is_to_be_given_is_warned_of(tmp_path: Path) -> None:
    config = Config(AgentSection(str(tmp_path)), ResourcesSection(gpus=("GPU-a",)))
    assert 'resources.gpus[0]: this host has no GPU "GPU-a"; it has none' in warnings(config, lambda config: ())


# --- while the agent runs ---


class Agent:
    """The presence of an agent on a host with that driver."""

    def __init__(self, host: LiveHost) -> None:
        self.advertiser, self.board = FakeAdvertiser(), Board()
        first = probe_host(host, host_id="a")
        self.ledger = Ledger(self._share(first), lambda: 1)
        watch = GpuWatch(lambda: look_at_gpus(host), self.board)
        self._presence = Presence(
            first,
            lambda: probe_host(host, host_id="a"),
            self._share,
            self.advertiser,
            self.board,
            self.ledger,
            (),
            600.0,
            watch,
        )
        for _ in range(2):
            self._presence.profile_step(0.0)

    def _share(self, profile: Capabilities) -> Share:
        return Share(gpus=tuple(unit for gpu in profile.gpus or () if gpu.usable for unit in gpu.units))

    def granted(self) -> tuple[str, ...]:
        """Return the units that may be granted."""
        return self.ledger.share.gpus

    def at(self, now: float) -> list[tuple[str | None, str | None]]:
        """Take a turn; return name and reason of each GPU."""
        self._presence.profile_step(now)
        return [(gpu.uuid, gpu.reason) for gpu in self._presence.profile().gpus or ()]


def test_a_gpu_that_falls_off_between_two_looks_is_withdrawn_with_the_next_one(library: Path, driver: Driver) -> None:
    driver.does(_IDLE)
    driver.shows("0000:01:00.0", "0000:02:00.0")
    agent = Agent(driver.host(library))
    assert agent.granted() == ("GPU-a", "GPU-b")
    driver.does(f"handle 0 !15\n{_IDLE}")
    assert agent.at(60.0) == [("GPU-a", "gpu-lost"), ("GPU-b", None)]
    assert agent.granted() == ("GPU-b",)
    assert len(agent.advertiser.profiles) == 2


def test_a_gpu_that_leaves_the_bus_stays_listed_as_lost(library: Path, driver: Driver) -> None:
    driver.does(_IDLE)
    driver.shows("0000:01:00.0", "0000:02:00.0")
    agent = Agent(driver.host(library))
    driver.does(_IDLE.replace("count 0 2", "count 0 1"))
    driver.shows("0000:01:00.0")
    assert agent.at(60.0) == [("GPU-a", None), ("GPU-b", None)]
    assert agent.at(60.0 + RETRY) == [("GPU-a", None), ("GPU-b", "gpu-lost")]


def test_one_gpu_that_hangs_is_withdrawn_alone(library: Path, driver: Driver) -> None:
    driver.does(_IDLE)
    driver.shows("0000:01:00.0", "0000:02:00.0")
    agent = Agent(driver.host(library, patience=0.5))
    driver.does(f"temp 1 hang\n{_IDLE}")
    assert agent.at(60.0) == [("GPU-a", None), ("GPU-b", None)]
    assert agent.at(60.0 + RETRY) == [("GPU-a", None), ("GPU-b", "nvml-timeout")]
    assert agent.granted() == ("GPU-a",)
