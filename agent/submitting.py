"""The submitters' end of the store queue."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent.claims import enqueue, pending
from agent.errors import BrokerUnavailable
from agent.model.job import parse_job
from agent.model.records import Submission
from agent.ports import Bell, Queued, RecordStore
from agent.results import Results

log = logging.getLogger(__name__)


class StoreSubmitter:
    """A Submitter over the records of a store queue and its results store, with a bell where there is one."""

    def __init__(self, records: RecordStore, results: Results, bell: Bell | None = None) -> None:
        self._records = records
        self._results = results
        self._bell = bell

    def submit(self, submission: Submission, body: bytes | None = None) -> None:
        """Record the job, let it wait in its lane, and ring."""
        each = submission
        job = parse_job(each.job)
        enqueue(self._records, self._results, job, each.sid, each.at, queue=each.queue, by=each.by, body=body)
        if self._bell is not None:
            ring(self._bell, "-".join(job.lane))

    def waiting(self) -> Sequence[Queued]:
        """Return what is in the queue, oldest first; running jobs are among it until they are settled."""
        return tuple(Queued(each.sid, each.lane, each.age) for each in pending(self._records))

    def body(self, sid: str) -> bytes | None:
        """Return the message of a waiting job."""
        keys = [each.key for each in pending(self._records) if each.sid == sid]
        found = [stored for stored in map(self._records.get, keys) if stored is not None]
        return found[0].body if found else None

    def withdraw(self, sid: str) -> None:
        """Take the job out of its lane."""
        for each in pending(self._records):
            if each.sid == sid:
                self._records.delete(each.key)


def ring(bell: Bell, lane: str) -> None:
    """Wake the hosts of a lane; one that is not heard costs time and nothing else."""
    try:
        bell.ring(lane)
    except BrokerUnavailable as error:
        fields = {"event": "bell-not-rung", "reason": str(error)}
        log.warning("the job waits in the queue, but the bell could not be rung: hosts see it later", extra=fields)
