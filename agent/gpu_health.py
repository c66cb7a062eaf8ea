"""What becomes of GPUs while the agent runs: lost, slowed down, back. Functions of what was seen; gpu_watch.py looks.

A GPU that was there and is gone stays listed, with its facts, as lost: who had it in mind hears why it is not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from agent.model.capabilities import Gpu
from agent.probes import reasons

NVIDIA = "nvidia"
# Seconds (since boot) of slowdown until a GPU is withdrawn, and of full speed until it is given out again. Idle, it
# cools down at once: a shorter way back would only load, heat and withdraw it in turn.
SLOW_FOR = 300.0
# Two samples further apart than this do not show what was between them: a host was asleep, or NVML did not answer.
MOST_BETWEEN = 200.0
# What a driver under load may look like for a moment. Believed when two looks in a row show it.
_MOMENTARY = (reasons.TIMEOUT, reasons.NO_DRIVER)


class Pace(NamedTuple):
    """How fast a GPU runs: slowed down or not, `since` when, at the last sample; and whether it is withdrawn for it."""

    slow: bool
    since: float
    sampled_at: float
    withdrawn: bool = False


def paces(before: Mapping[str, Pace], slowdowns: Mapping[str, Sequence[str]], now: float) -> dict[str, Pace]:
    """Return the paces by UUID after a sample: what slows each GPU down, for those that tell. `now` is since boot."""
    return {**before, **{uuid: _paced(before.get(uuid), bool(names), now) for uuid, names in slowdowns.items()}}


def _paced(before: Pace | None, slow: bool, now: float) -> Pace:
    if before is None or before.slow != slow or now - before.sampled_at > MOST_BETWEEN:
        return Pace(slow, now, now, before is not None and before.withdrawn)
    turned = now - before.since > SLOW_FOR
    return Pace(slow, before.since, now, slow if turned else before.withdrawn)


def without_slow(gpus: Iterable[Gpu], known: Mapping[str, Pace]) -> tuple[Gpu, ...]:
    """Return the GPUs, those that are withdrawn for their pace as not usable."""
    return tuple(reasons.judged(gpu, reasons.SLOWED) if _is_slow(gpu, known) else gpu for gpu in gpus)


def _is_slow(gpu: Gpu, known: Mapping[str, Pace]) -> bool:
    pace = known.get(gpu.uuid or "")
    return bool(gpu.usable) and pace is not None and pace.withdrawn


def is_same(one: Gpu, other: Gpu) -> bool:
    """Say whether two entries show one GPU: by UUID, by PCI address, or because a host has one integrated GPU."""
    if one.vendor != other.vendor:
        return False
    by_uuid = one.uuid is not None and one.uuid == other.uuid
    by_address = one.pci is not None and one.pci == other.pci
    return by_uuid or by_address or (one.kind == "integrated" == other.kind)


def remembered(before: Iterable[Gpu], after: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return what a look showed, with what it did not show of GPUs that were there before.

    An unusable GPU keeps the facts that only a working driver tells; an NVIDIA GPU that is gone is lost.
    """
    known, found = [gpu for gpu in before if gpu.vendor == NVIDIA], list(after)
    lost = [gpu for gpu in known if not any(is_same(gpu, other) for other in found)]
    return (*(_with_facts(gpu, known) for gpu in found), *(reasons.judged(gpu, reasons.LOST) for gpu in lost))


def _with_facts(gpu: Gpu, known: Iterable[Gpu]) -> Gpu:
    old = next((other for other in known if is_same(gpu, other)), None)
    if old is None or gpu.usable or (gpu.uuid is not None and gpu.uuid != old.uuid):
        return gpu
    verdict = {name: getattr(gpu, name) for name in ("usable", "reason", "remedy", "units")}
    return msgspec.structs.replace(old, driver=gpu.driver or old.driver, **verdict)


def is_momentary(before: Iterable[Gpu], after: Iterable[Gpu]) -> bool:
    """Say whether a look shows less than it may in a moment: a GPU that could be used is gone, or does not answer."""
    found = list(after)
    usable = [gpu for gpu in before if gpu.usable and gpu.vendor == NVIDIA]
    return any(_is_away(next((other for other in found if is_same(gpu, other)), None)) for gpu in usable)


def _is_away(gpu: Gpu | None) -> bool:
    return gpu is None or (not gpu.usable and gpu.reason in _MOMENTARY)


def needs_samples(gpus: Iterable[Gpu]) -> bool:
    """Say whether a look between two probes can tell something: a Jetson's own GPU is on the chip and tells nothing."""
    watched = (gpu for gpu in gpus if gpu.vendor == NVIDIA and gpu.uuid is not None and gpu.kind != "integrated")
    return any(gpu.usable or gpu.reason == reasons.SLOWED for gpu in watched)


def units_of(gpus: Iterable[Gpu]) -> dict[str, Gpu]:
    """Return, by each unit that can be granted, the GPU that it is of."""
    return {unit: gpu for gpu in gpus if gpu.usable for unit in gpu.units}


def trouble_of(unit: str, known: Mapping[str, Gpu], gpus: Sequence[Gpu]) -> str | None:
    """Return why a granted unit cannot be used as before, None when it can; `known` are units that once were there."""
    if unit in units_of(gpus):
        return None
    now = next((gpu for gpu in gpus if gpu.uuid == unit or (unit in known and is_same(known[unit], gpu))), None)
    if now is None or now.usable:
        return f"{unit} is no longer there"  # an administrator divided the GPU anew
    return f"{label(now)}: {now.reason}"


def withdrawn(known: Mapping[str, Gpu], gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that cannot be used now and of which something could be granted before."""
    return tuple(gpu for gpu in gpus if not gpu.usable and any(is_same(gpu, once) for once in known.values()))


def label(gpu: Gpu) -> str:
    """Return the name of a GPU for people: what it is, and where."""
    return f"{gpu.name or gpu.vendor} at {gpu.pci}" if gpu.pci else f"{gpu.name or gpu.vendor} {gpu.uuid or ''}".strip()
