"""What this host is: one probe a module, each reading through the Host port and failing for itself alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.model.capabilities import Capabilities, Facts, Problem
from agent.ports import Host
from agent.probes import cpu, emulation, identity, memory, runtime, storage
from agent.probes.host import ProbeProblem

# (name, part of the profile, probe); two probes of one part fill different fields of it.
PROBES: tuple[tuple[str, str, Callable[[Host], Facts]], ...] = (
    ("host", "host", identity.probe),
    ("cpu", "cpu", cpu.probe),
    ("memory", "memory", memory.probe),
    ("storage", "storage", storage.probe),
    ("emulation", "runtime", emulation.probe),
    ("runtime", "runtime", runtime.probe),
)
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
    profile = Capabilities(labels=dict(labels or {}), problems=tuple(problems))
    for name, section, probe in PROBES:
        try:
            profile = _merged(profile, section, probe(host))
        except ProbeProblem as error:
            profile = _with_problem(profile, Problem(name, str(error), error.remedy))
        except (ValueError, OSError, KeyError, IndexError) as error:
            message = f"{type(error).__name__}: {error}"
            profile = _with_problem(profile, Problem(name, message, _REPORT))
    return _identified(profile, host_id)


def _merged(profile: Capabilities, section: str, part: Facts) -> Capabilities:
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
