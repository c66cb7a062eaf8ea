"""What a job used of its host, and what all attempts together have used since the agent started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

# Whose use of GPUs was measured: the processes of the job, or all there is on the units that it was granted.
Whose = Literal["job", "unit"]


class Moved(msgspec.Struct, frozen=True):
    """Bytes that the agent moved for an attempt: fetched before it ran, stored while it ran and afterwards."""

    bytes_in: int = 0
    bytes_out: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.bytes_in + other.bytes_in, self.bytes_out + other.bytes_out)


class Usage(msgspec.Struct, frozen=True):
    """What an attempt used; None = not known, as for one that never ran. Unknown keys of later releases are ignored.

    cpu_s: seconds of user and system time of all its processes; peak_memory_bytes: of all of them at once, with what
    the kernel keeps of files for them where its groups count memory. Both with the container runtime's own part.
    wall_s: seconds from launch to end, suspension included. ended_by: "itself", or why it was ended.

    gpu_memory_bytes: the most on its GPUs together; gpu_utilization and gpu_peak_utilization: mean and peak share of
    time (0 to 1) in which they were busy, of several the mean. gpu_memory_of, gpu_utilization_of: whose that is.
    gpu_samples: the number of looks at them, since the agent started that saw the end.
    """

    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    wall_s: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_utilization: float | None = None
    gpu_peak_utilization: float | None = None
    gpu_memory_of: Whose | None = None
    gpu_utilization_of: Whose | None = None
    gpu_samples: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    ended_by: str | None = None

    def with_moved(self, moved: Moved) -> Usage:
        """Return the same use with what was moved for it."""
        return msgspec.structs.replace(self, bytes_in=moved.bytes_in, bytes_out=moved.bytes_out)


class Totals(msgspec.Struct, frozen=True):
    """Sums since the agent started, over the attempts that came to their end. jobs_total: their number by outcome.

    gpu_seconds_total: each GPU that an attempt had counts the seconds that the attempt ran. refusals_total: by reason,
    each job counts again when its reasons change. leases_lost_total: attempts whose job another host took over.
    """

    jobs_total: dict[str, int] = {}
    cpu_seconds_total: float = 0.0
    bytes_in_total: int = 0
    bytes_out_total: int = 0
    gpu_seconds_total: float = 0.0
    refusals_total: dict[str, int] = {}
    leases_lost_total: int = 0

    def plus(self, outcome: str, usage: Usage, gpus: int = 0) -> Totals:
        """Return the sums with one more attempt, which had so many GPUs."""
        return msgspec.structs.replace(
            self,
            jobs_total=_counted(self.jobs_total, outcome),
            cpu_seconds_total=self.cpu_seconds_total + (usage.cpu_s or 0.0),
            bytes_in_total=self.bytes_in_total + usage.bytes_in,
            bytes_out_total=self.bytes_out_total + usage.bytes_out,
            gpu_seconds_total=self.gpu_seconds_total + gpus * (usage.wall_s or 0.0),
        )

    def plus_refusal(self, reasons: Iterable[str]) -> Totals:
        """Return the sums with one more refusal, for these reasons."""
        return msgspec.structs.replace(self, refusals_total=_counted(self.refusals_total, *reasons))

    def plus_lost_lease(self) -> Totals:
        """Return the sums with one more lease that was lost."""
        return msgspec.structs.replace(self, leases_lost_total=self.leases_lost_total + 1)


def _counted(numbers: Mapping[str, int], *names: str) -> dict[str, int]:
    return {**numbers, **{name: numbers.get(name, 0) + 1 for name in names}}
