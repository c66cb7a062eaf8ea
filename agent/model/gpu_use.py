"""How GPUs are used: what one look at them shows, and what all looks at those of one attempt add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from agent.model.usage import Usage


class OfProcess(msgspec.Struct, frozen=True):
    """What one process has on a unit: bytes, and its share of the unit's time (0 to 1); None = not told."""

    memory_bytes: int | None = None
    utilization: float | None = None


class UnitSample(msgspec.Struct, frozen=True):
    """One look at a unit; None = not told.

    processes: those that compute on it, by process id. by_process: their utilization is told, 0 for idle ones.
    """

    memory_bytes: int | None = None
    utilization: float | None = None
    processes: Mapping[int, OfProcess] = {}
    by_process: bool = False
    error: str | None = None


# One look at several units, by UUID.
Sample = Mapping[str, UnitSample]


class Shares(msgspec.Struct, frozen=True):
    """Shares of time that were seen: how many, their sum, the highest."""

    count: int = 0
    total: float = 0.0
    peak: float = 0.0

    def plus(self, share: float | None) -> Shares:
        """Return them with one more; None is none."""
        return self if share is None else Shares(self.count + 1, self.total + share, max(self.peak, share))


class GpuUse(msgspec.Struct, frozen=True):
    """What the units of one attempt, and on them the processes of the attempt, were seen to use."""

    samples: int = 0
    has_own: bool = False
    own_memory: int | None = None
    unit_memory: int | None = None
    own_shares: Shares = Shares()
    unit_shares: Shares = Shares()

    def plus(self, units: Sequence[UnitSample], is_own: Callable[[int], bool]) -> GpuUse:
        """Return it with one more look at all units; is_own: whether a process is one of the attempt's."""
        if not units or any(unit.error is not None for unit in units):
            return self
        own = [[each for pid, each in unit.processes.items() if is_own(pid)] for unit in units]
        found = [each for processes in own for each in processes]
        return GpuUse(
            samples=self.samples + 1,
            has_own=self.has_own or bool(found),
            own_memory=_most(self.own_memory, _sum(each.memory_bytes for each in found) if found else None),
            unit_memory=_most(self.unit_memory, _sum(unit.memory_bytes for unit in units)),
            own_shares=self.own_shares.plus(_mean(list(map(_own_share, units, own)))),
            unit_shares=self.unit_shares.plus(_mean([unit.utilization for unit in units])),
        )

    def added_to(self, usage: Usage) -> Usage:
        """Return the use of the whole attempt. What NVML tells of its processes goes before what it tells of units.

        It tells of no process where the agent runs in a container: then nothing is known to be the attempt's own.
        """
        if not self.samples:
            return usage
        memory = self.unit_memory if self.own_memory is None else self.own_memory
        by_process = self.has_own and self.own_shares.count > 0
        shares = self.own_shares if by_process else self.unit_shares
        return msgspec.structs.replace(
            usage,
            gpu_samples=self.samples,
            gpu_memory_bytes=memory,
            gpu_memory_of=None if memory is None else "unit" if self.own_memory is None else "job",
            gpu_utilization=round(shares.total / shares.count, 4) if shares.count else None,
            gpu_peak_utilization=round(shares.peak, 4) if shares.count else None,
            gpu_utilization_of=None if not shares.count else "job" if by_process else "unit",
        )


def _own_share(unit: UnitSample, own: Iterable[OfProcess]) -> float | None:
    """Return the share of a unit's time that the attempt's processes take; several may be told to overlap."""
    if not unit.by_process:
        return None
    return min(1.0, sum(each.utilization or 0.0 for each in own))


def _sum(values: Iterable[int | None]) -> int | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known and len(known) == len(shares) else None


def _most(before: int | None, now: int | None) -> int | None:
    return now if before is None else before if now is None else max(before, now)
