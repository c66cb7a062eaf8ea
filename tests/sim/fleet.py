"""Hosts of a mixed fleet: profiles of recorded machines, in shares, with what the recordings leave open filled in."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import NamedTuple

import msgspec
from agent.adapters.host import RecordedHost
from agent.lanes import lanes_served
from agent.model.capabilities import Capabilities, RuntimeFacts
from agent.model.share import Share
from agent.probes import probe_host

from tests.hosts import RECORDED

GIB = 1024**3


class Kind(NamedTuple):
    """One kind of host. machine: its recording; weight: parts of the fleet; cpus and memory (GiB) that the agent gives.

    Each host has all units of the recording's usable GPUs, and disk enough for whatever runs on its CPUs.
    """

    machine: str
    weight: int
    cpus: float
    memory: float


# In a thousand hosts: boards in the field first, a few machines with much of everything.
MIXED = (
    Kind("rpi4-64bit", 300, 4, 3.2),
    Kind("rpi5", 200, 4, 7.2),
    Kind("rk3588-orangepi5plus", 80, 8, 15),
    Kind("rpi3-32bit", 60, 4, 0.8),
    Kind("jetson-orin-nano-super-r36", 130, 6, 6.5),
    Kind("jetson-agx-orin-r36", 40, 12, 28),
    Kind("x86-laptop-hp840g10", 100, 8, 15),
    Kind("x86-binfmt-aarch64", 50, 16, 60),
    Kind("x86-desktop-rtx3090", 30, 24, 60),
    Kind("x86-dgx-a100-mig", 10, 96, 900),
)


class Host(NamedTuple):
    """One host of the fleet."""

    name: str
    kind: str
    profile: Capabilities
    share: Share
    lanes: tuple[str, ...]


def fleet(count: int, random: Random, kinds: tuple[Kind, ...] = MIXED) -> list[Host]:
    """Return `count` hosts of the kinds by their weights (exactly, as far as they divide), in random order."""
    whole = sum(kind.weight for kind in kinds)
    ends = [round(sum(kind.weight for kind in kinds[: index + 1]) * count / whole) for index in range(len(kinds))]
    drawn = [kind for kind, start, end in zip(kinds, [0, *ends], ends, strict=False) for _ in range(end - start)]
    random.shuffle(drawn)
    return [_host(f"host-{index}", kind) for index, kind in enumerate(drawn)]


def _host(name: str, kind: Kind) -> Host:
    profile = _profile(kind.machine)
    units = tuple(unit for gpu in profile.gpus or () if gpu.usable for unit in gpu.units)
    share = Share(kind.cpus, int(kind.memory * GIB), int(kind.cpus * 64 * GIB), units)
    return Host(name, kind.machine, profile, share, lanes_served(profile))


@cache
def _profile(machine: str) -> Capabilities:
    """Return the machine's profile with a container runtime, which recordings do not have."""
    profile = probe_host(RecordedHost(RECORDED / machine))
    runtime = RuntimeFacts("apptainer", "1.4.5", (profile.cpu.arch or "",), (), (), "exact")
    return msgspec.structs.replace(profile, runtime=runtime)
