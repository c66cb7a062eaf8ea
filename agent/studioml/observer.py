"""Who observes StudioML attempts: keeps their clients' records, hears their wishes, scrapes metadata, sends reports.

What clients are told while a job runs is best effort: what goes wrong is logged once, and costs no job. Only the
results that the message itself asks for keep the job on this host until they are stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from agent.errors import HostFault, InvalidInput, JobFault
from agent.matching import MatchPolicy
from agent.model.cargo import Cargo
from agent.ports import ArtifactAccess, Clock, Delivery, Senders, Watched
from agent.studioml import metadata, record, report, results, status
from agent.studioml.memory import Memory
from agent.studioml.objects import Objects, Troubles
from agent.studioml.origin import Origin, origin_of
from agent.studioml.reading import Keys
from agent.studioml.record import StatusRecord, record_uri
from agent.studioml.reporter import Reporter
from agent.studioml.senders import KnownSenders
from agent.transfer.stream import chunks

CANCELLED = "cancelled"
_NOT_RUN = {"expired": "the lifetime of the experiment was over before it could run"}

# Seals a report with a public key, see agent.studioml.envelope.
Seal = Callable[[object, bytes], str]


class StudioObservers:
    """Makes the observers of StudioML attempts; nobody observes the others."""

    def __init__(
        self,
        access: ArtifactAccess,
        policy: MatchPolicy,
        clock: Clock,
        host: str,
        keys: Keys,
        senders: Callable[[str], Senders | None],
        seal: Seal,
    ) -> None:
        """senders: of a queue by its name here, None where they cannot be reached. host: the id of this one."""
        self._access = access
        self._policy = policy
        self._clock = clock
        self._host = host
        self._keys = keys
        self._senders = senders
        self._seal = seal
        self._known: dict[str, KnownSenders | None] = {}
        self._named_at = 0
        self._lock = threading.Lock()

    def of(self, attempt: Watched) -> StudioObserver | None:
        """Return who observes the attempt; None for one that came in another form."""
        origin = origin_of(attempt.cargo)
        if origin is None:
            return None
        memory = Memory(attempt.directory, self._accession)
        troubles = Troubles(attempt.sid)
        senders = self._known_senders(attempt.queue)
        objects = Objects(self._access, self._policy, attempt.cargo, attempt.directory)
        reporter = self._reporter(senders, origin, memory, troubles)
        return StudioObserver(attempt, origin, objects, self._clock, memory, senders, reporter, troubles)

    def not_run(self, delivery: Delivery, cargo: Cargo | None, reason: str) -> None:
        """Tell the client of an experiment that is over without a run, where the message could be read."""
        origin = None if cargo is None else origin_of(cargo)
        if cargo is None or origin is None:
            return
        troubles, now = Troubles(delivery.sid), self._clock.time()
        uri = record_uri(origin)
        if uri is not None:
            with troubles.kept("status record"):
                own = StatusRecord(Objects(self._access, self._policy, cargo), uri)
                own.change(partial(record.finished, at=now))
        memory = Memory(None, self._accession)
        reporter = self._reporter(self._known_senders(delivery.queue), origin, memory, troubles)
        if reporter is not None:
            reporter.not_run(_NOT_RUN.get(reason, reason))

    def _accession(self) -> str:
        """Return a name that no other attempt on this host has: files in a bucket are called by it.

        Attempts that start in the same second are named as if they came one after the other.
        """
        with self._lock:
            self._named_at = max(int(self._clock.time()), self._named_at + 1)
            return report.accession(self._host, self._named_at)

    def _known_senders(self, queue: str) -> KnownSenders | None:
        with self._lock:
            if queue not in self._known:
                senders = self._senders(queue)
                self._known[queue] = None if senders is None else KnownSenders(senders, self._clock)
            return self._known[queue]

    def _reporter(
        self, senders: KnownSenders | None, origin: Origin, memory: Memory, troubles: Troubles
    ) -> Reporter | None:
        if senders is None:
            return None
        key = None
        with troubles.kept("reports"):
            key = self._keys.reports(origin.queue)
        if key is None:
            return None
        identity = report.Identity(origin.experiment, memory.notes.accession, self._host)
        seal = partial(self._seal, key)
        return Reporter(senders, seal, origin.queue, identity, memory, self._clock, troubles)


class StudioObserver:
    """An Observer of one attempt."""

    def __init__(
        self,
        attempt: Watched,
        origin: Origin,
        objects: Objects,
        clock: Clock,
        memory: Memory,
        senders: KnownSenders | None,
        reporter: Reporter | None,
        troubles: Troubles,
    ) -> None:
        self.checkpoint_every = origin.checkpoint_every
        self._origin = origin
        self._objects = objects
        self._clock = clock
        self._memory = memory
        self._senders = senders
        self._reporter = reporter
        self._troubles = troubles
        uri = record_uri(origin)
        self._record = None if uri is None else StatusRecord(objects, uri)
        self._document = None if origin.metadata_uri is None else metadata.Document()
        if self._document is not None:
            self._document.apply(metadata.of_start(origin, attempt.host, attempt.started_at))

    def started(self, attempt: Watched) -> None:
        """Note in the record that the experiment runs, and report it."""
        self._change_record(partial(record.running, started_at=attempt.started_at))
        if self._reporter is not None:
            self._reporter.started()

    def line(self, text: str) -> None:
        """Scrape and report the line."""
        if self._document is not None:
            self._document.line(text)
        if self._reporter is not None:
            self._reporter.line(text)

    def checkpoint(self, attempt: Watched) -> None:
        """Upload the metadata so far, and note the time in the record."""
        self._upload_metadata(attempt)
        self._change_record(partial(record.saved, at=self._clock.time()))

    def wish(self) -> str | None:
        """Return "cancelled" when the record or the artifact `_status` says stopped, or the queue is deleted."""
        if self._reporter is not None:
            self._reporter.flush()
        with self._troubles.kept("wishes in the status record"):
            if self._record is not None and self._record.stop_wanted():
                return CANCELLED
        with self._troubles.kept("wishes in _status"):
            if self._origin.status_uri is not None and status.stop_wanted(self._objects, self._origin.status_uri):
                return CANCELLED
        with self._troubles.kept("the end of the queue"):
            if self._senders is not None and self._senders.left():
                return CANCELLED
        return None

    def finished(self, attempt: Watched, final: bool) -> None:
        """Store results and metadata, note the end in the record, report it.

        An attempt that is given back leaves the experiment waiting again. Raises Unavailable: the results asked for
        cannot be stored now.
        """
        if final and attempt.outcome in results.ENDS:
            self._store_results(attempt)
        at = attempt.ended_at or self._clock.time()
        if self._document is not None:
            self._document.apply(metadata.of_end(at))
        self._upload_metadata(attempt)
        self._change_record(partial(record.finished, at=at) if final else record.waiting)
        if self._reporter is not None:
            self._reporter.ended(attempt, final)

    def _change_record(self, change: Callable[[record.Fields], record.Fields]) -> None:
        with self._troubles.kept("status record"):
            if self._record is not None:
                self._record.change(change)

    def _store_results(self, attempt: Watched) -> None:
        uri = self._origin.results_uri
        if uri is None:
            return
        content = results.document(attempt, self._origin)
        at = attempt.ended_at or self._clock.time()
        with self._troubles.kept("_results", JobFault, InvalidInput, HostFault):
            self._objects.write(uri, results.archive(content, uri, at))

    def _upload_metadata(self, attempt: Watched) -> None:
        """Upload what was printed, and what was scraped of it, each as a file of its own."""
        prefix, name = self._origin.metadata_uri, self._memory.notes.accession
        log = attempt.directory / "log"
        if prefix is None or self._document is None:
            return
        with self._troubles.kept("metadata"):
            if log.exists():
                with log.open("rb") as file:
                    self._objects.write(f"{prefix}output-host-{name}.log", chunks(file))
            self._objects.write(f"{prefix}scrape-host-{name}.json", [self._document.as_json()])
