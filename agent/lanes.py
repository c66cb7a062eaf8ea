"""The lanes of a queue: which jobs a host is asked for. A lane is "<architecture or any>-<accelerator>"."""

from __future__ import annotations

from collections.abc import Iterable

from agent.matching.resources import has_jetson, has_nvidia
from agent.model.capabilities import Capabilities

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


def _accels(host: Capabilities) -> tuple[str, ...]:
    if has_jetson(host):
        return ("jetson", "nvidia", "none")
    return ("nvidia", "none") if has_nvidia(host) else ("none",)
