"""What this host is: one probe a module, each reading through the Host port and failing for itself alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from agent.model.capabilities import Capabilities, Facts, Problem
from agent.ports import Host
from agent.probes import (
    accelerators,
    board,
    cpu,
    emulation,
    gpu,
    health,
    identity,
    isolation,
    jetson,
    memory,
    nvml,
    runtime,
    storage,
)
from agent.probes.host import AskedOnce, ProbeProblem

# (name, part of the profile, probe); two probes of one part fill different fields of it.
PROBES: tuple[tuple[str, str, Callable[[Host], Any]], ...] = (
    ("host", "host", identity.probe),
    ("board", "host", board.probe),
    ("cpu", "cpu", cpu.probe),
    ("memory", "memory", memory.probe),
    ("gpus", "gpus", gpu.probe),
    ("gpu-memory", "memory", gpu.probe_memory),
    ("cuda", "cuda", nvml.probe),
    ("jetson", "jetson", jetson.probe),
    ("jetson-cuda", "cuda", jetson.cuda),
    ("accelerators", "accelerators", accelerators.probe),
    ("storage", "storage", storage.probe),
    ("emulation", "runtime", emulation.probe),
    ("runtime", "runtime", runtime.probe),
    ("runtime", "runtime", isolation.probe_user_namespaces),
    ("runtime", "runtime", isolation.probe_fuse),
    ("health", "health", health.probe),
)
# What a probe may raise over facts that nobody foresaw; it fails for itself alone.
_FAULTS = (ValueError, OSError, KeyError, IndexError)
_REPORT = "report this as a bug, with what `edge-agent probe --json` prints"
_SET_ID = "run systemd-machine-id-setup, or set id under [agent] in the configuration"


def probe_host(
    host: Host,
    labels: Mapping[str, str] | None = None,
    host_id: str | None = None,
    problems: Iterable[Problem] = (),
) -> Capabilities:
    """Return the profile of `host`. A probe that fails becomes a problem, and its facts stay unknown.

    `host_id` replaces the id made from the machine id; `problems` are shown before those found here.
    """
    host = AskedOnce(host)
    profile = Capabilities(labels=dict(labels or {}), problems=tuple(problems))
    for name, section, probe in PROBES:
        try:
            profile = _merged(profile, section, probe(host))
        except ProbeProblem as error:
            profile = _with_problem(profile, Problem(name, str(error), error.remedy))
        except _FAULTS as error:
            message = f"{type(error).__name__}: {error}"
            profile = _with_problem(profile, Problem(name, message, _REPORT))
    return _identified(profile, host_id)


def look_at_gpus(host: Host) -> gpu.GpuLook | None:
    """Return the GPUs and how they do; None when their probe fails: `probe_host` says how."""
    try:
        return gpu.look(host)
    except (ProbeProblem, *_FAULTS):
        return None


def _merged(profile: Capabilities, section: str, part: Any) -> Capabilities:
    """Return the profile with `part`: facts are added to those there, anything else (lists, None) replaces it."""
    if not isinstance(getattr(profile, section), Facts):
        return msgspec.structs.replace(profile, **{section: part})
    known = {name: value for name, value in msgspec.structs.asdict(part).items() if value is not None}
    merged = msgspec.structs.replace(getattr(profile, section), **known)
    return msgspec.structs.replace(profile, **{section: merged})


def _with_problem(profile: Capabilities, problem: Problem) -> Capabilities:
    return msgspec.structs.replace(profile, problems=(*profile.problems, problem))


def _identified(profile: Capabilities, host_id: str | None) -> Capabilities:
    if host_id is not None:
        return _merged(profile, "host", msgspec.structs.replace(profile.host, id=host_id))
    if profile.host.id is None:
        return _with_problem(profile, Problem("host", "there is no machine id, so the host has no stable id", _SET_ID))
    return profile
