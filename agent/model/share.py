"""An amount of a host's resources: what the agent may give, what is free, what a job has reserved."""

from __future__ import annotations

import msgspec


class Share(msgspec.Struct, frozen=True):
    """cpus in cores, memory and disk in bytes, gpus as the UUIDs of grantable units."""

    cpus: float = 0.0
    memory: int = 0
    disk: int = 0
    gpus: tuple[str, ...] = ()

    def minus(self, other: Share) -> Share:
        """Return what is left when `other` is taken away; amounts may go below zero, units are removed by name."""
        return Share(
            # Cores are added and taken away many times: rounding keeps 3 x 0.1 from leaving a crumb.
            round(self.cpus - other.cpus, 6),
            self.memory - other.memory,
            self.disk - other.disk,
            tuple(unit for unit in self.gpus if unit not in other.gpus),
        )

    def covers(self, other: Share) -> bool:
        """Say whether `other` fits in."""
        return (
            other.cpus <= self.cpus
            and other.memory <= self.memory
            and other.disk <= self.disk
            and set(other.gpus) <= set(self.gpus)
        )
