"""What is bound into a container, as it is gathered from several places."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from agent.model.run import Devices, Mount

# The folder that the runtime puts at the end of LD_LIBRARY_PATH in every container.
LIBRARIES = "/.singularity.d/libs"
_LIBRARY = re.compile(r"lib.+\.so(\.[\w.-]+)?")


class Edits(msgspec.Struct, frozen=True):
    """nodes: paths in /dev; mounts: files and folders of the host; env: variables that the job gets."""

    nodes: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: dict[str, str] = {}

    def plus(self, other: Edits) -> Edits:
        """Return both; where both set a variable, the other's value."""
        return Edits(self.nodes + other.nodes, self.mounts + other.mounts, {**self.env, **other.env})

    def devices(self) -> Devices:
        """Return what the runtime is told: each node and each target once, the first one that claims it."""
        mounts = {mount.target: mount for mount in reversed(self.mounts)}
        return Devices(tuple(dict.fromkeys(self.nodes)), tuple(reversed(mounts.values())), self.env)


def library_name(path: str) -> str | None:
    """Return the name of a shared library's file; None for any other file."""
    name = path.rpartition("/")[2]
    return name if _LIBRARY.fullmatch(name) else None


def stem(name: str) -> str:
    """Return libcuda.so for libcuda.so.1 and libcuda.so.550.54.15."""
    return name[: name.index(".so") + 3]


def library(source: str, names: Iterable[str]) -> tuple[Mount, ...]:
    """Return the mounts by which programs find the library `source` by these names.

    They lie in one folder of their own: a target in a folder of the image would cost a mount for each file in it.
    """
    return tuple(Mount(source, f"{LIBRARIES}/{name}") for name in dict.fromkeys(names))


def visible(units: Iterable[str]) -> dict[str, str]:
    """Return the variables by which CUDA, and whatever else asks, takes the granted units."""
    listed = ",".join(units)
    return {"CUDA_VISIBLE_DEVICES": _for_cuda(listed), "NVIDIA_VISIBLE_DEVICES": listed}


def _for_cuda(listed: str) -> str:
    """CUDA knows UUIDs with their prefix. A Jetson's own GPU has none and is the only one that is visible."""
    return listed if listed.startswith(("GPU-", "MIG-")) else "0"
