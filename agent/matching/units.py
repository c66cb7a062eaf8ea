"""Which of the free GPU units a job is granted: always the same ones for the same job, host and reservations."""

from __future__ import annotations

from collections.abc import Collection

from agent.matching.resources import usable_units
from agent.model.capabilities import Capabilities, Gpu
from agent.model.job import Job


def chosen_units(job: Job, host: Capabilities, free: Collection[str]) -> tuple[str, ...] | None:
    """Return as many of the `free` units as the job asks for, None when fewer of them fit.

    Small ones first, so that large ones stay for jobs that need them; several of one model where that is possible,
    because programs on several GPUs are as fast as the slowest.
    """
    count, fitting = job.requires.gpus, usable_units(job, host)
    gpus = sorted((gpu for gpu in host.gpus or () if gpu.units), key=_size)
    units = [(unit, _model(gpu)) for gpu in gpus for unit in gpu.units if unit in fitting and unit in free]
    if len(units) < count:
        return None
    for _, model in units:
        alike = [unit for unit, other in units if other == model]
        if len(alike) >= count:
            return tuple(alike[:count])
    return tuple(unit for unit, _ in units[:count])


def _size(gpu: Gpu) -> float:
    """Return the memory of one unit, as near as it is known: that of a divided GPU is shared by its units."""
    return (gpu.memory_bytes or 0) / len(gpu.units)


def _model(gpu: Gpu) -> tuple[str | None, int]:
    return gpu.name, len(gpu.units)
