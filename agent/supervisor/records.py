"""run.json as data: who the waiter and the container of an attempt are, in which boot."""

from __future__ import annotations

from collections import namedtuple

from agent.supervisor import files, processes
from agent.supervisor.processes import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Run(namedtuple("Run", "attempt boot_id waiter container cgroup started_at log limit_groups", defaults=((),))):
    """A started attempt; `started_at` in Unix seconds, `log` and `cgroup` are paths.

    `limit_groups` are the job's cgroups of version 1.
    """

    __slots__ = ()
    attempt: str
    boot_id: str
    waiter: Identity
    container: Identity
    cgroup: str | None
    started_at: float
    log: str
    limit_groups: tuple[str, ...]

    @property
    def of_this_boot(self) -> bool:
        return self.boot_id == processes.boot_id()

    @property
    def waiter_alive(self) -> bool:
        return self.of_this_boot and processes.alive(self.waiter)


def parse_run(raw: Mapping[str, Any]) -> Run:
    """Read the object of run.json; unknown keys are ignored. Raises ValueError naming what is wrong."""
    try:
        return Run(
            attempt=str(raw["attempt"]),
            boot_id=str(raw["boot_id"]),
            waiter=_identity(raw["waiter"]),
            container=_identity(raw["container"]),
            cgroup=None if raw.get("cgroup") is None else str(raw["cgroup"]),
            started_at=float(raw["started_at"]),
            log=str(raw["log"]),
            limit_groups=tuple(map(str, raw.get("limit_groups", ()))),
        )
    except KeyError as error:
        raise ValueError(f"run.json has no {error}") from error
    except TypeError as error:
        raise ValueError(f"run.json has a value of a wrong kind: {error}") from error


def _identity(raw: Mapping[str, Any]) -> Identity:
    return Identity(int(raw["pid"]), int(raw["starttime"]))


def read_run(directory: str) -> Run | None:
    """The run of an attempt's directory, None when it has none. Raises ValueError, as after a power cut."""
    raw = files.read_json(directory, files.RUN)
    return None if raw is None else parse_run(raw)
