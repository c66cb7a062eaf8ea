"""Every delivery this agent holds, from pull to settle: renews the leases, notices what others want of the job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

from agent.errors import Unavailable
from agent.ports import JobSource, Lease
from agent.results import Results

log = logging.getLogger(__name__)


class Held(msgspec.Struct, frozen=True):
    """One held lease with the queue and the results store it belongs to."""

    source: JobSource
    results: Results
    lease: Lease


class Leases:
    """Renews what is held every `every` seconds. Tells `on_stop(sid, why)` of lost leases and of cancelled jobs."""

    def __init__(self, every: float, on_stop: Callable[[str, str], None]) -> None:
        self._every = every
        self._on_stop = on_stop
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def hold(self, source: JobSource, results: Results, lease: Lease) -> None:
        """Hold a lease from now on; called again with the number of the attempt once it is claimed."""
        with self._lock:
            self._held[lease.sid] = Held(source, results, lease)

    def holds(self, sid: str) -> bool:
        """Say whether a delivery of this job is held."""
        with self._lock:
            return sid in self._held

    def sids(self) -> tuple[str, ...]:
        """Return the jobs of which a delivery is held, from the pull on."""
        with self._lock:
            return tuple(self._held)

    def adopt(self, sid: str, handle: str) -> bool:
        """Take the handle of a redelivery of a job that is here; False when it is not."""
        with self._lock:
            held = self._held.get(sid)
            if held is None:
                return False
            lease = msgspec.structs.replace(held.lease, handle=handle)
            self._held[sid] = msgspec.structs.replace(held, lease=lease)
        log.info("redelivery adopted", extra={"event": "redelivery-adopted", "sid": sid})
        return True

    def lease(self, sid: str) -> Lease | None:
        """Return the lease as it is now."""
        with self._lock:
            held = self._held.get(sid)
            return held.lease if held else None

    def drop(self, sid: str) -> Held | None:
        """Hold it no longer; return what was held."""
        with self._lock:
            return self._held.pop(sid, None)

    def step(self, now: float) -> float:
        """Renew everything once; return when to come again (the same clock as `now`)."""
        with self._lock:
            held = tuple(self._held.values())
        for source in {id(each.source): each.source for each in held}.values():
            self._renew(source, tuple(each for each in held if each.source is source))
        return now + self._every

    def _renew(self, source: JobSource, held: tuple[Held, ...]) -> None:
        try:
            lost = source.extend([each.lease for each in held])
            for each in held:
                if each.lease.sid in lost:
                    self._on_stop(each.lease.sid, "lease-lost")
                elif each.results.cancelled(each.lease.sid) is not None:
                    self._on_stop(each.lease.sid, "cancelled")
        except Unavailable as error:
            # The jobs go on: whether somebody else took over shows at the next renewal that gets through.
            log.warning("leases cannot be renewed", extra={"event": "lease-renewal-failed", "reason": str(error)})
