"""How the container runtime can pass NVIDIA GPUs into containers: nv, nvccli, cdi.

nv: the libraries in nvliblist.conf. Those of a Jetson are not in the lists of Apptainer up to 1.5.3. nvccli: NVIDIA's
nvidia-container-cli, which fails on a Jetson. cdi: a specification that NVIDIA's toolkit wrote, which Apptainer reads
since 1.5.
"""

from __future__ import annotations

from agent.ports import Host
from agent.probes import driver, jetson
from agent.probes.host import read_text

_LISTS = (
    "/etc/apptainer/nvliblist.conf",
    "/usr/local/etc/apptainer/nvliblist.conf",
    "/etc/singularity/nvliblist.conf",
    "/usr/local/etc/singularity/nvliblist.conf",
)
_OF_TEGRA = "libnvrm_gpu"
_PROGRAMS = ("/usr/bin/nvidia-container-cli", "/usr/local/bin/nvidia-container-cli")
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
_CDI_KIND = "nvidia.com/gpu"
_APPTAINER = "apptainer"
_WITH_CDI, _LAST_WITHOUT_TEGRA = (1, 5), (1, 5, 3)


def methods(host: Host, name: str, version: str) -> tuple[str, ...]:
    """Return the ways of the runtime `name` in this version; none where nothing shows an NVIDIA GPU."""
    if not driver.is_expected(host):
        return ()
    numbers = tuple(int(part) for part in version.split(".")) if name == _APPTAINER else ()
    on_jetson = jetson.board(host) is not None
    ways = (
        ("nv", not on_jetson or _lists_tegra(host, numbers)),
        ("nvccli", not on_jetson and any(host.read(path) is not None for path in _PROGRAMS)),
        ("cdi", numbers >= _WITH_CDI and bool(cdi_specifications(host))),
    )
    return tuple(way for way, works in ways if works)


def _lists_tegra(host: Host, numbers: tuple[int, ...]) -> bool:
    found = (read_text(host, path) for path in _LISTS)
    text = next((text for text in found if text is not None), None)
    return numbers > _LAST_WITHOUT_TEGRA if text is None else _is_listed(text)


def _is_listed(text: str) -> bool:
    return any(line.strip().startswith(_OF_TEGRA) for line in text.splitlines())


def cdi_specifications(host: Host) -> tuple[str, ...]:
    """Return the paths of the specifications (CDI) that have NVIDIA's GPUs."""
    paths = (f"{folder}/{name}" for folder in CDI_FOLDERS for name in host.list(folder))
    return tuple(path for path in paths if _CDI_KIND in (read_text(host, path) or ""))
