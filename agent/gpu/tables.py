"""What a GPU job needs where nothing on the host says it: nodes of the driver, its libraries, files of WSL 2."""

from __future__ import annotations

from collections.abc import Iterable

from agent.gpu.edits import Edits, library, library_name, stem
from agent.gpu.ldcache import Library
from agent.model.run import Mount

# Without these no program can use a GPU; the others are there when somebody needed them once.
NEEDED_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
OTHER_NODES = ("/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
WSL_NODE = "/dev/dxg"
WSL_LIBRARIES, WSL_DRIVERS = "/usr/lib/wsl/lib", "/usr/lib/wsl/drivers"
# What the driver reads of the machine; of the rest of /sys a job sees nothing.
FACTS = ("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/devices/soc0")
# The driver's libraries for computing, video and management (libnvidia-container, src/nvc_info.c), without graphics.
_STEMS = frozenset(
    f"{name}.so"
    for name in (
        "libcuda",
        "libcudadebugger",
        "libnvcuvid",
        "libnvidia-allocator",
        "libnvidia-cfg",
        "libnvidia-compiler",
        "libnvidia-encode",
        "libnvidia-fatbinaryloader",
        "libnvidia-gpucomp",
        "libnvidia-ml",
        "libnvidia-nvvm",
        "libnvidia-nvvm70",
        "libnvidia-opencl",
        "libnvidia-opticalflow",
        "libnvidia-pkcs11",
        "libnvidia-pkcs11-openssl3",
        "libnvidia-ptxjitcompiler",
        "libnvidia-sandboxutils",
        "libnvidia-tileiras",
    )
)


def driver_libraries(known: Iterable[Library]) -> tuple[Mount, ...]:
    """Return the mounts of the driver's libraries among those that the host's loader knows."""
    own = (each for each in known if ".so" in each.name and stem(each.name) in _STEMS)
    return tuple(mount for each in own for mount in library(each.path, (each.name,)))


def names_of(name: str, known: Iterable[Library]) -> tuple[str, ...]:
    """Return the names by which programs ask for a library of the driver whose file is called `name`.

    Its full name, and what the host's loader knows of its kind, else the name that nearly all of them have.
    """
    others = [each.name for each in known if ".so" in each.name and stem(each.name) == stem(name)]
    return (name, *(others or [f"{stem(name)}.1"]))


def of_wsl(files: Iterable[str], folders: Iterable[str]) -> Edits:
    """Return what WSL 2 needs: one node for all GPUs, Windows' libraries (`files`), and what these open (`folders`)."""
    named = ((path, library_name(path)) for path in files)
    libraries = (mount for path, name in named if name is not None for mount in library(path, (name,)))
    return Edits((WSL_NODE,), (*libraries, *(Mount(folder, folder) for folder in folders)))
