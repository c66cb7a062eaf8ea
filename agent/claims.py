"""The store queue: jobs wait as records, and an attempt record in the results store is the claim.

    pending/<arch>-<accel>/<sid>      the job as JSON, until it is settled
    pending/<arch>-<accel>/<sid>~<host>   a mark: that host has it in hand

Several agents may pull the same waiting job; creating the attempt record decides who runs it. Marks decide nothing:
they are seen in the listing, and spare others the requests that it takes to find out by the attempt record. Who takes a
job marks it, renews the mark with the lease, and removes it. One that is not renewed is disregarded by others, and one
of an earlier life by the host itself.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from agent.errors import StoreUnavailable
from agent.fairness import Wish, in_turn
from agent.model.job import Job
from agent.model.records import Submission
from agent.own_jobs import OwnJobs
from agent.policy import ring_delay
from agent.ports import Bell, Clock, Delivery, Lease, RecordStore
from agent.results import Results, check_sid, is_sid, key_part
from agent.wire import encode, plain

log = logging.getLogger(__name__)

ALL_LANES = ("*",)
_PENDING = "pending/"
MARK = "~"  # no submission id has it
_MARK_GOOD_FOR = 0.5  # of a lease, which is renewed every third of it
_STALE_MARKS_PER_LOOK = 4
_LONGEST_NAME = 80  # characters of a host's name in a mark
# What one look may cost in requests, however many jobs wait.
CHECKS_PER_LOOK = 16
_EARLY_CHECKS_PER_LOOK = 4
_BODIES_PER_LOOK = 64
_URGENCIES_KEPT = 10_000
_UNREADABLE_SECONDS = 60.0
# Seconds between a look that failed and the next one.
_AFTER_FAILURE = 2.0
# Two events cannot be waited for at once: one that waits for the bell looks this often whether the agent stops.
_STOP_SECONDS = 1.0


class Waiting(NamedTuple):
    """A job in the queue. age: seconds since it was submitted, by the store's clock.

    marks: by host, seconds since it renewed its mark.
    """

    sid: str
    lane: str
    age: float
    marks: Mapping[str, float] = {}

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{_PENDING}{self.lane}/{self.sid}"


def enqueue(
    records: RecordStore,
    results: Results,
    job: Job,
    sid: str,
    now: float,
    *,
    queue: str,
    by: str | None = None,
    body: bytes | None = None,
) -> str:
    """Submit the job under `sid` and return it. now: seconds since the epoch; by: who submits.

    body: the message to put on the queue, None = the job as it is.

    The same call again completes one that was interrupted. Raises InvalidInput (sid), StoreUnavailable.
    """
    lane = "-".join(job.lane)
    results.submit(Submission(sid=check_sid(sid), job=plain(job), queue=queue, lane=lane, at=now, by=by))
    records.put(Waiting(sid, lane, 0.0).key, encode(job, by) if body is None else body, create=True)
    return sid


def pending(records: RecordStore, lanes: Sequence[str] = ALL_LANES) -> tuple[Waiting, ...]:
    """Return the jobs in the lanes, oldest first; running jobs are among them until they are settled."""
    return _listed(records, lanes).waiting


class _Listed(NamedTuple):
    """One look at the lanes: the jobs, oldest first, and marks of jobs that are gone, by key with their age."""

    waiting: tuple[Waiting, ...]
    left: Mapping[str, float]


def _listed(records: RecordStore, lanes: Sequence[str]) -> _Listed:
    names = records.list(_PENDING).prefixes if tuple(lanes) == ALL_LANES else tuple(lanes)
    found: list[Waiting] = []
    left: dict[str, float] = {}
    for lane in names:
        ages = records.list(f"{_PENDING}{lane}/").records
        marks: dict[str, dict[str, float]] = {}
        for name, age in ages.items():
            sid, is_mark, host = name.partition(MARK)
            if is_mark and sid in ages:
                marks.setdefault(sid, {})[host] = age
            elif is_mark:
                left[f"{_PENDING}{lane}/{name}"] = age
        found += [Waiting(sid, lane, age, marks.get(sid, {})) for sid, age in ages.items() if is_sid(sid)]
    return _Listed(tuple(sorted(found, key=lambda waiting: -waiting.age)), left)


class StoreQueue:
    """A JobSource over the records of a queue and its results store.

    lanes: which to serve, or ALL_LANES. lease: seconds without renewal after which a claim is void.
    look_every: seconds between two looks that find nothing; a ring of `bell` makes the next one happen at once.
    stopping: ends every wait.
    """

    def __init__(
        self,
        name: str,
        records: RecordStore,
        results: Results,
        lanes: Sequence[str],
        *,
        host: str,
        lease: float,
        look_every: float,
        clock: Clock,
        stopping: threading.Event,
        bell: Bell | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._records = records
        self._results = results
        self._lanes = tuple(lanes)
        self._host = key_part(host)[:_LONGEST_NAME]
        self._lease = lease
        self._look_every = look_every
        self._random = random
        self._late = 0  # rings in a row after which others were sooner
        self._clock = clock
        self._stopping = stopping
        self._looking = threading.Lock()  # one pull waits at a time
        self._books = threading.Lock()  # around all that is known of the jobs
        self._due = clock.boottime()
        self._own = OwnJobs()
        self._others = _OthersClaims(results, lease)
        self._urgencies: dict[str, _Urgency] = {}
        self._turns = 0
        self._served: dict[str, int] = {}  # submitters by when this agent took a job of them last
        self._rung = threading.Event()
        self._has_bell = bell is not None
        if bell is not None:
            bell.on_ring(self._lanes, self._rung.set)

    def pull(self, timeout: float) -> Delivery | None:
        """Return the most urgent job that nobody runs, in fair turns, waiting up to `timeout` seconds for one."""
        if not self._looking.acquire(timeout=max(0.0, timeout)):
            return None
        try:
            return self._pull(timeout)
        finally:
            self._looking.release()

    def extend(self, leases: Sequence[Lease]) -> frozenset[str]:
        """Renew the claims among the leases; a job that is not claimed yet has nothing to lose."""
        lost, failed = set(), None
        for lease in leases:
            try:
                if lease.n is None or lease.token is None:
                    self._show(lease)  # held here, it may start elsewhere
                elif not self._results.renew(lease.sid, lease.n, lease.token):
                    lost.add(lease.sid)
                else:
                    self._mark_on(lease)
            except StoreUnavailable as error:
                failed = error  # the others may still be renewed
        if failed is not None:
            raise failed
        return frozenset(lost)

    def settle(self, lease: Lease) -> None:
        """Take the job off the queue."""
        self._own.finish(lease.sid, self._clock.boottime() + self._lease)
        self._records.delete(lease.handle)
        self._own.drop(lease.sid)
        self._unmark(lease)

    def release(self, lease: Lease, delay: float) -> None:
        """Leave the job to others, and look away from it for `delay` seconds."""
        self._own.put_off(lease.sid, self._clock.boottime() + delay)
        self._unmark(lease)

    def overtaken(self, sid: str) -> bool:
        """Say whether a job waits that nobody runs and that is more urgent than this one, which this agent holds."""
        with self._books:
            now, waiting = self._clock.boottime(), pending(self._records, self._lanes)
            self._read_urgencies(waiting)
            own = next((self._urgency(each).priority for each in waiting if each.sid == sid), None)
            if own is None:
                return False  # settled by somebody else: whoever claims it finds that out
            before = [each for each in self._candidates(waiting, now) if self._urgency(each).priority > own]
            return any(self._others.is_free(each.sid, now) for each in before)

    def _pull(self, timeout: float) -> Delivery | None:
        remaining = timeout
        while not self._stopping.is_set():
            wait = max(0.0, self._due - self._clock.boottime())
            rung = self._rest(min(wait, remaining))
            if rung:
                # All hosts hear it at once, and one of them can have the job.
                self._stopping.wait(ring_delay(self._late, self._random(), self._look_every))
            if self._stopping.is_set() or (wait > remaining and not rung):
                return None
            remaining -= wait
            with self._books:
                delivery = self._look(self._clock.boottime())
            if rung:
                self._late = self._late + 1 if delivery is None else 0
            # Nobody knows how long it took until somebody rang: rather end the pull early than late.
            if delivery is not None or rung:
                return delivery
        return None

    def _rest(self, seconds: float) -> bool:
        """Wait until the queue is rung (then say so), the agent stops, or `seconds` have passed."""
        if not self._has_bell:
            self._stopping.wait(seconds)
            return False
        while not self._rung.wait(min(seconds, _STOP_SECONDS)):
            seconds -= _STOP_SECONDS
            if seconds <= 0 or self._stopping.is_set():
                return False
        return True

    def _look(self, now: float) -> Delivery | None:
        # Before the look: a ring during it may be for a job that was not there yet.
        self._rung.clear()
        self._due = now + min(self._look_every, _AFTER_FAILURE)
        waiting, left = _listed(self._records, self._lanes)
        self._due = now + self._look_every
        self._sweep(left)
        self._forget_all_but(waiting, now)
        for candidate in self._candidates(waiting, now):
            try:
                delivery = self._take(candidate) if self._others.is_free(candidate.sid, now) else None
            except StoreUnavailable as error:
                # One record is unreadable or the whole store: either way the next look leaves this job out.
                self._own.put_off(candidate.sid, now + _UNREADABLE_SECONDS)
                fields = {"event": "job-put-off", "sid": candidate.sid, "reason": str(error)}
                log.warning("waiting job cannot be read", extra=fields)
                return None
            if delivery is not None:
                self._due = now
                return delivery
        return None

    def _candidates(self, waiting: Sequence[Waiting], now: float) -> Iterator[Waiting]:
        """Give the jobs to check: by priority, then in fair turns, as many as one look may check."""
        free = [each for each in waiting if not self._own.has(each.sid, now) and not self._is_marked(each)]
        if len(free) > 1:
            self._read_urgencies(free)
        read = {each.sid: each for each in free if each.key in self._urgencies}
        wishes = [
            Wish(each.sid, self._urgency(each).who, self._urgency(each).priority, each.age) for each in read.values()
        ]
        ordered = [read[wish.sid] for wish in in_turn(wishes, self._running(waiting, now), self._served)]
        unread = (each for each in free if each.sid not in read)
        return iter(self._others.worth_a_check([*ordered, *unread], now)[:CHECKS_PER_LOOK])

    def _running(self, waiting: Sequence[Waiting], now: float) -> Mapping[str, int]:
        """Return how many jobs of each submitter run here, or elsewhere as far as that is known."""
        known = (each for each in waiting if each.key in self._urgencies)
        running = (
            each
            for each in known
            if self._own.holds(each.sid) or self._is_marked(each) or self._others.runs(each.sid, now)
        )
        return Counter(self._urgency(each).who for each in running)

    def _is_marked(self, waiting: Waiting) -> bool:
        """Say whether somebody else has the job in hand."""
        good_for = self._lease * _MARK_GOOD_FOR
        return any(host != self._host and age < good_for for host, age in waiting.marks.items())

    def _show(self, lease: Lease) -> None:
        if self._own.has_marked(lease.sid):
            self._unmark(lease)

    def _mark_on(self, lease: Lease) -> None:
        """Renew a mark. The job may be settled or released by another thread at any moment, before and after."""
        if self._own.is_done_with(lease.sid):
            return
        self._mark(lease.sid, lease.handle)
        if self._own.is_done_with(lease.sid):
            self._unmark(lease)

    def _mark(self, sid: str, key: str) -> None:
        """Mark a job; nothing depends on it."""
        self._own.mark(sid)
        with contextlib.suppress(StoreUnavailable):
            self._records.put(f"{key}{MARK}{self._host}", b"{}")

    def _unmark(self, lease: Lease) -> None:
        """Remove a mark, whichever life of the agent has set it; others disregard one that stays, after a while."""
        with contextlib.suppress(StoreUnavailable):
            self._records.delete(f"{lease.handle}{MARK}{self._host}")
            self._own.unmark(lease.sid)

    def _sweep(self, left: Mapping[str, float]) -> None:
        """Remove marks whose job was settled by somebody who was killed before he removed them."""
        stale = [key for key, age in left.items() if age > self._lease]
        for key in stale[:_STALE_MARKS_PER_LOOK]:
            self._records.delete(key)

    def _urgency(self, waiting: Waiting) -> _Urgency:
        return self._urgencies.get(waiting.key, _UNKNOWN)

    def _read_urgencies(self, waiting: Sequence[Waiting]) -> None:
        """Read what is not known yet, as much as one look may; the newest, too: a newcomer must not wait for that."""
        unknown = [each.key for each in waiting if each.key not in self._urgencies]
        room = min(_BODIES_PER_LOOK, max(0, _URGENCIES_KEPT - len(self._urgencies)))
        newest = unknown[len(unknown) - min(room // 2, len(unknown)) :]
        for key in dict.fromkeys([*newest, *unknown[: room - len(newest)]]):
            stored = self._records.get(key)
            self._urgencies[key] = _read_urgency(stored.body) if stored else _UNKNOWN

    def _take(self, waiting: Waiting) -> Delivery | None:
        # The mark comes first: who settles the job after this look at it removes the mark, too.
        self._mark(waiting.sid, waiting.key)
        stored = None
        try:
            stored = self._records.get(waiting.key)
        finally:
            if stored is None:
                self._unmark(Lease(waiting.sid, waiting.key))
        if stored is None:
            return None  # settled since it was listed
        self._own.hold(waiting.sid)
        self._note_turn(waiting, stored.body)
        submitted_at = self._clock.time() - stored.age
        return Delivery(self._name, waiting.sid, stored.body, _attributes(waiting.lane), waiting.key, submitted_at)

    def _note_turn(self, waiting: Waiting, body: bytes) -> None:
        if len(self._urgencies) < _URGENCIES_KEPT:
            self._urgencies[waiting.key] = _read_urgency(body)
        names = {known.who for known in self._urgencies.values()}
        self._turns += 1
        self._served = {name: turn for name, turn in self._served.items() if name in names}
        self._served[self._urgency(waiting).who] = self._turns

    def _forget_all_but(self, waiting: Sequence[Waiting], now: float) -> None:
        keys = {each.key for each in waiting}
        self._urgencies = {key: known for key, known in self._urgencies.items() if key in keys}
        self._others.forget_all_but({each.sid for each in waiting})
        self._own.prune({each.sid for each in waiting}, now)


class _OthersClaims:
    """Which jobs others run: remembered until the claim may be void, so that a look need not read it again.

    A few claims are read again before, in turn: the job may have been given back.
    """

    def __init__(self, results: Results, lease: float) -> None:
        self._results = results
        self._lease = lease
        self._until: dict[str, float] = {}  # least recently read first

    def worth_a_check(self, waiting: Sequence[Waiting], now: float) -> list[Waiting]:
        sids = {each.sid for each in waiting}
        early = [sid for sid in self._until if sid in sids][:_EARLY_CHECKS_PER_LOOK]
        return [each for each in waiting if each.sid in early or self._until.get(each.sid, now) <= now]

    def runs(self, sid: str, now: float) -> bool:
        """Say whether somebody is known to run it."""
        return self._until.get(sid, now) > now

    def is_free(self, sid: str, now: float) -> bool:
        """Say whether a new attempt may start, or a committed result waits for somebody to settle the job."""
        self._until.pop(sid, None)
        standing = self._results.standing(sid, self._lease)
        if standing.expires_in is None or self._results.committed(sid) is not None:
            return True
        self._until[sid] = now + standing.expires_in
        return False

    def forget_all_but(self, sids: Collection[str]) -> None:
        self._until = {sid: until for sid, until in self._until.items() if sid in sids}


class _Urgency(msgspec.Struct, frozen=True):
    """The keys of a waiting job that order the queue; all else is read by whoever runs it.

    by: the submitter as it calls itself; payload, key_id: the job inside a signed one, and the signer.
    """

    priority: int = 0
    by: str = ""
    payload: str | None = None
    key_id: str = ""

    @property
    def who(self) -> str:
        """The submitter. One that signs cannot be mistaken for one that only says so."""
        return f"by {self.by}" if self.payload is None else f"signed by {self.key_id}"


_UNKNOWN = _Urgency()


def _read_urgency(body: bytes) -> _Urgency:
    try:
        urgency = msgspec.json.decode(body, type=_Urgency)
        if urgency.payload is None:
            return urgency
        inner = msgspec.json.decode(urgency.payload, type=_Urgency)
        return msgspec.structs.replace(urgency, priority=inner.priority)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _UNKNOWN


def _attributes(lane: str) -> Mapping[str, str]:
    arch, _, accel = lane.rpartition("-")
    return {"edge_arch": arch, "edge_accel": accel}
