"""Which nodes in /dev are a granted unit's own: its GPU's, and those of its instance where the GPU is divided (MIG)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

CAPABILITIES = "/proc/driver/nvidia/capabilities"
CAPABILITY_NODES = "/dev/nvidia-caps"
_OWN = re.compile(r"/dev/nvidia\d+|/dev/nvidia-caps/nvidia-cap\d+")


class Place(NamedTuple):
    """Where a unit is: the minor number of its GPU's node; gi and ci: numbers of its instances, None = undivided."""

    minor: int
    gi: int | None = None
    ci: int | None = None

    @property
    def access_files(self) -> tuple[str, ...]:
        """The files that say which capability nodes the instance needs."""
        if self.gi is None:
            return ()
        instance = f"{CAPABILITIES}/gpu{self.minor}/mig/gi{self.gi}"
        return f"{instance}/access", f"{instance}/ci{self.ci}/access"


def places(answer: Any, minors: Mapping[str, int]) -> dict[str, Place]:
    """Return the places by unit from what NVML answered, in the form of `python -m agent.nvml`.

    minors: by UUID, from the kernel module, for GPUs that NVML gives no minor number of.
    """
    found = {uuid: Place(minor) for uuid, minor in minors.items()}
    devices = answer.get("devices") if isinstance(answer, dict) else None
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict):
            found.update(_places(device, minors))
    return found


def _places(device: Mapping[str, Any], minors: Mapping[str, int]) -> dict[str, Place]:
    uuid, told = device.get("uuid"), device.get("minor_number")
    minor = told if _is_number(told) else minors.get(str(uuid))
    if not isinstance(uuid, str) or minor is None:
        return {}
    listed = device.get("mig_devices")
    instances = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    parts = {
        each["uuid"]: Place(minor, each["gi"], each["ci"])
        for each in instances
        if isinstance(each.get("uuid"), str) and _is_number(each.get("gi")) and _is_number(each.get("ci"))
    }
    return {uuid: Place(minor), **parts}


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def parse_access(text: str) -> str | None:
    """Return the capability node that a file `access` names; None for another text."""
    match = re.search(r"^DeviceFileMinor:\s*(\d+)\s*$", text, re.MULTILINE)
    return f"{CAPABILITY_NODES}/nvidia-cap{match[1]}" if match else None


def own_nodes(nodes: Iterable[str]) -> frozenset[str]:
    """Return those of the nodes that belong to one GPU or one instance, and not to the driver as a whole."""
    return frozenset(node for node in nodes if _OWN.fullmatch(node))
