"""The lanes of a queue: which jobs a host is asked for. A lane is "<architecture or any>-<accelerator>"."""

from __future__ import annotations

from collections.abc import Iterable

from agent.matching.resources import has_jetson, has_nvidia
from agent.model.capabilities import Capabilities
from agent.model.share import Share

ANY = "any"
# Jobs for any architecture are written for the common ones: an armv6 board would mostly refuse them.
_SERVE_ANY = ("amd64", "arm64")


def lane_name(arch: str, accel: str) -> str:
    """Return the name of the lane of jobs for `arch` ("any" for several) and `accel`: Job.lane has both."""
    return f"{arch}-{accel}"


def lanes_served(host: Capabilities, emulate: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the lanes that the host pulls from unless it is told others, its own architecture first.

    A Jetson serves jetson, nvidia and none; emulated architectures (those in `emulate` that the host can) serve none
    only; a host without a container runtime serves nothing.
    """
    native = host.runtime.archs or ()
    served = [lane_name(arch, accel) for arch in native for accel in _accels(host)]
    if native and native[0] in _SERVE_ANY:
        served += [lane_name(ANY, accel) for accel in _accels(host)]
    if native:
        able = host.runtime.emulated or ()
        served += [lane_name(arch, "none") for arch in emulate if arch in able and arch not in native]
    return tuple(dict.fromkeys(served))


def has_room(free: Share, lane: str = "") -> bool:
    """Say whether a job of the lane may fit into what is free: all want CPU time, those for accelerators a GPU.

    A host that asks all the same gets jobs that others would run at once, and refuses them.
    """
    wants_gpu = lane.rpartition("-")[2] in ("jetson", "nvidia")
    return free.cpus > 0 and (bool(free.gpus) or not wants_gpu)


def _accels(host: Capabilities) -> tuple[str, ...]:
    if has_jetson(host):
        return ("jetson", "nvidia", "none")
    return ("nvidia", "none") if has_nvidia(host) else ("none",)
