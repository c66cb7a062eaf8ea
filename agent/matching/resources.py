"""What a host must have: amounts, accelerators, labels, and the constraints of `where`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.matching.check import Case, Check, later, met, never, unique
from agent.model.capabilities import Capabilities, Gpu
from agent.model.constraint import holds, look_up, parse_constraint
from agent.model.job import Job
from agent.model.units import show_size
from agent.model.verdict import Reason


def check_amounts(case: Case) -> Iterable[Check]:
    asked, share, free = case.job.requires, case.share, case.free
    yield _amount(Reason.CPUS, "cpus", asked.cpus, share.cpus, free.cpus, show_cores)
    yield _amount(Reason.MEMORY, "memory", asked.memory, share.memory, free.memory, show_size)
    yield _amount(Reason.DISK, "disk", asked.disk, share.disk, free.disk, show_size)


def _amount(reason: Reason, key: str, asked: float, share: float, free: float, show: Callable[[float], str]) -> Check:
    wanted = f"{show(asked)} of {key}" if reason is not Reason.CPUS else show(asked)
    if asked > share:
        found = f"{show(max(share, 0))} in the agent's share"
        return never(reason, wanted, found, f"ask for less, or raise [resources] {key} where the host has more")
    if asked > free:
        remedy = "wait until running jobs end"
        return later(reason, wanted, f"{show(max(free, 0))} free of {show(share)}", remedy)
    return met(reason, wanted, f"{show(free)} free of {show(share)}")


def show_cores(count: float) -> str:
    """Return a number of cores as people read it."""
    return f"{count:g} CPU" + ("" if count == 1 else "s")


def usable_units(job: Job, host: Capabilities) -> tuple[str, ...]:
    """Return the UUIDs of the GPU units that could be granted to the job: usable, and as `gpu_where` wants them."""
    return _units(gpu for gpu in host.gpus or () if _gpu_fits(job, gpu))


def _units(gpus: Iterable[Gpu]) -> tuple[str, ...]:
    return tuple(unit for gpu in gpus if gpu.usable for unit in gpu.units)


def _gpu_fits(job: Job, gpu: Gpu) -> bool:
    facts = msgspec.to_builtins(gpu)
    return all(_group_holds(group, facts) for group in job.requires.gpu_where)


def check_accelerator(case: Case) -> Iterable[Check]:
    accel = case.job.accel
    if accel == "none":
        return
    has = has_jetson(case.host) or (accel == "nvidia" and has_nvidia(case.host))
    wanted = "a Jetson" if accel == "jetson" else "an NVIDIA GPU that can be used"
    if has and not case.share.gpus:
        yield never(Reason.ACCELERATOR, wanted, "none in the agent's share", "give it out: [resources] gpus")
    elif has:
        yield met(Reason.ACCELERATOR, wanted, "present")
    else:
        reasons = unique(gpu.reason for gpu in case.host.gpus or () if gpu.reason)
        remedy = "`edge-agent probe` says what is wrong" if reasons else "submit to hosts that have one"
        yield never(Reason.ACCELERATOR, wanted, ", ".join(reasons) or "none", remedy)


def has_jetson(host: Capabilities) -> bool:
    """Say whether the host is a Jetson."""
    return host.jetson is not None


def has_nvidia(host: Capabilities) -> bool:
    """Say whether the host has an NVIDIA GPU of which something can be granted."""
    return any(gpu.usable and gpu.units and (gpu.vendor or "").lower() == "nvidia" for gpu in host.gpus or ())


def check_gpus(case: Case) -> Iterable[Check]:
    count = case.job.requires.gpus
    if not count:
        return
    given = set(case.share.gpus)
    fitting = [unit for unit in usable_units(case.job, case.host) if unit in given]
    free = [unit for unit in fitting if unit in case.free.gpus]
    wanted = f"{count} GPU unit" + ("" if count == 1 else "s")
    if len(fitting) < count:
        there = [unit for unit in _units(case.host.gpus or ()) if unit in given]
        if len(there) >= count:
            conditions = "; ".join(_show_group(group) for group in case.job.requires.gpu_where)
            found = f"{len(fitting)} of {len(there)} units are so"
            yield never(Reason.CONSTRAINT, f"{wanted} with {conditions}", found, "loosen requires.gpu_where")
        else:
            away = unique(gpu.reason for gpu in case.host.gpus or () if gpu.vendor == "nvidia" and gpu.reason)
            found = f"{len(there)} in the agent's share" + (f", others are {', '.join(away)}" if away else "")
            remedy = "ask for fewer GPUs" + ("; `edge-agent probe` says what is wrong with the others" if away else "")
            yield never(Reason.GPUS, wanted, found, remedy)
    elif len(free) < count:
        yield later(Reason.GPUS, wanted, f"{len(free)} free of {len(fitting)}", "wait until running jobs end")
    else:
        yield met(Reason.GPUS, wanted, f"{len(free)} free of {len(fitting)}")


def check_labels(case: Case) -> Iterable[Check]:
    for name, value in sorted(case.job.requires.labels.items()):
        found = case.host.labels.get(name)
        wanted = f"label {name} = {value}"
        if found == value:
            yield met(Reason.LABEL, wanted, found)
        else:
            yield never(Reason.LABEL, wanted, found or "no such label", f'set it under [labels]: {name} = "{value}"')


def check_constraints(case: Case) -> Iterable[Check]:
    if not case.job.requires.where:
        return
    facts = case.host.table()
    for group in case.job.requires.where:
        found = ", ".join(unique(_show_fact(facts, text) for text in _members(group)))
        if _group_holds(group, facts):
            yield met(Reason.CONSTRAINT, _show_group(group), found)
        else:
            yield never(Reason.CONSTRAINT, _show_group(group), found, "loosen requires.where")


def _group_holds(group: str | tuple[str, ...], facts: Mapping[str, object]) -> bool:
    return any(holds(parse_constraint(text), facts) for text in _members(group))


def _members(group: str | tuple[str, ...]) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _show_group(group: str | tuple[str, ...]) -> str:
    return " or ".join(_members(group))


def _show_fact(facts: Mapping[str, object], text: str) -> str:
    path = parse_constraint(text).path
    found = look_up(facts, path)
    return f"{path} is {'unknown' if found is None else _shortened(str(found))}"


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
