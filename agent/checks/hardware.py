"""Checks of the hardware and what drives it: GPUs, the files of a Jetson, emulation, power and heat."""

from __future__ import annotations

from collections.abc import Iterator

from agent.checks.finding import Bench, Finding, doubtful, failed, good
from agent.model.capabilities import Gpu
from agent.probes import driver, emulation, look_at_gpus, reasons
from agent.probes.gpu_methods import CDI_FOLDERS, cdi_specifications
from agent.probes.host import read_text

# Why a GPU cannot be used, where nothing is broken.
_BY_CHOICE = (reasons.PROHIBITED, reasons.BUSY)
_MEMORY_NODE = "/dev/nvidia-uvm"
_CSV_FOLDER = "/etc/nvidia-container-runtime/host-files-for-container.d"
_MAKE_LIST = "nvidia-ctk cdi generate --mode=csv --output=/etc/cdi/nvidia.yaml"
_INSTALL_QEMU = "install qemu-user-static and binfmt-support (Debian, Ubuntu), or a package like them"
_POWER = "under_voltage"  # a word of HealthFacts.throttled
_BETTER_POWER = "use the power supply and cable that the maker names; what else is plugged in takes power, too"
_BETTER_COOLING = "cool it: fan, heat sink, dust, room"


def check_gpus(bench: Bench) -> Iterator[Finding]:
    """Each NVIDIA GPU that is there can be used."""
    problems = [problem for problem in bench.profile.problems if problem.probe in ("gpus", "cuda")]
    found = [each for each in bench.profile.gpus or () if each.vendor == "nvidia"]
    yield from (failed("gpu", problem.message, problem.remedy or "") for problem in problems)
    yield from (_judge_gpu(each) for each in found)
    if any(each.usable and each.kind == "discrete" for each in found):
        yield from _missing_nodes(driver.open_nodes(bench.host) or frozenset())
    if not (problems or found):
        yield good("gpu", "there is none of NVIDIA's")


def _missing_nodes(nodes: frozenset[str]) -> Iterator[Finding]:
    """The driver makes its nodes by need, one of them only when a program of root's asks for it."""
    if "/dev/nvidiactl" in nodes and _MEMORY_NODE not in nodes:
        message = f"{_MEMORY_NODE} is missing, or this user may not open it: no program can use CUDA"
        yield failed("gpu", message, "run `nvidia-modprobe -u -c=0` as root at each start of the host; see its rights")


def _judge_gpu(found: Gpu) -> Finding:
    name = " ".join(filter(None, (found.name or "an NVIDIA GPU", found.pci)))
    if found.usable:
        return good("gpu", f"{name} can be used" + (f", driver {found.driver}" if found.driver else ""))
    tell = doubtful if found.reason in _BY_CHOICE else failed
    return tell("gpu", f"{name} cannot be used: {found.reason}", found.remedy or "")


def check_jetson(bench: Bench) -> Iterator[Finding]:
    """A Jetson has the lists of what containers need of its GPU: `--nv` of the runtime does not know its files."""
    if bench.profile.jetson is None:
        yield good("jetson", "this host is none")
        return
    host = bench.host
    lists = [f"{_CSV_FOLDER}/{name}" for name in host.list(_CSV_FOLDER) if name.endswith(".csv")]
    useful = [path for path in lists if "dev" in _first_fields(read_text(host, path) or "")]
    useful += cdi_specifications(host)
    if useful:
        yield good("jetson", f"what containers need of the GPU is listed in {', '.join(useful)}")
    elif lists:
        yield failed("jetson", f"no device is listed in {', '.join(lists)}", "reinstall nvidia-container and reboot")
    else:
        remedy = f"install nvidia-container (JetPack) or nvidia-container-toolkit, then {_MAKE_LIST}"
        yield failed("jetson", f"no lists for containers in {_CSV_FOLDER} and {', '.join(CDI_FOLDERS)}", remedy)


def _first_fields(text: str) -> set[str]:
    return {line.partition(",")[0].strip() for line in text.splitlines()}


def check_emulation(bench: Bench) -> Iterator[Finding]:
    """Each architecture of `runtime.emulate` is emulated, in containers too."""
    if not bench.emulate:
        yield good("emulation", "none is configured")
    yield from (_judge_emulation(bench, arch) for arch in bench.emulate)


def _judge_emulation(bench: Bench, arch: str) -> Finding:
    name = "emulation"
    if arch in (bench.profile.runtime.archs or ()):
        return good(name, f"this host runs {arch} without")
    known = [entry for entry in emulation.entries(bench.host) if entry.arch == arch]
    switched_on = emulation.is_switched_on(bench.host)
    if switched_on is None:
        return failed(name, "binfmt_misc is not mounted", "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc")
    if not switched_on:
        return failed(name, "binfmt_misc is switched off", "echo 1 > /proc/sys/fs/binfmt_misc/status")
    if any(entry.works for entry in known):
        return good(name, f"{arch} is emulated")
    if not known:
        return failed(name, f"no emulator for {arch} is registered", _INSTALL_QEMU)
    entry = known[0]
    if not entry.enabled:
        return failed(name, f"{entry.name} is disabled", f"echo 1 > /proc/sys/fs/binfmt_misc/{entry.name}")
    remedy = f"register it with flag F (fix-binary): {_INSTALL_QEMU}"
    return failed(name, f"{entry.name} is registered without flag F: containers do not find the emulator", remedy)


def check_throttling(bench: Bench) -> Iterator[Finding]:
    """The host gets enough power and stays cool enough to run as fast as it is made for."""
    name, health = "throttling", bench.profile.health
    now = health.throttled or ()
    heat = [word for word in now if word != _POWER]
    slow_gpus = list(_slow_gpus(bench))
    if _POWER in now:
        yield failed(name, "the power supply does not keep up (under_voltage): files may get damaged", _BETTER_POWER)
    if heat:
        yield doubtful(name, f"slowed down now: {', '.join(heat)}", _BETTER_COOLING)
    yield from slow_gpus
    if not (now or slow_gpus):
        before = health.throttled_since_boot or ()
        told = "this host does not tell whether now" if health.throttled is None else "not now"
        yield good(name, told + (f"; since boot: {', '.join(before)}" if before else ""))


def _slow_gpus(bench: Bench) -> Iterator[Finding]:
    seen = look_at_gpus(bench.host)
    for uuid, names in (seen.slowdowns if seen else {}).items():
        if names:
            message = f"GPU {uuid} is slowed down now: {', '.join(names)}"
            yield doubtful("throttling", message, reasons.REMEDIES[reasons.SLOWED])
