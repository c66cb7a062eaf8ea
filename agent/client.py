"""The submitters' side: put jobs into a queue, see what became of them, fetch what they left. Needs the stores only.

client = Client(queue_name, submitter, dead_letters, results, artifacts)
sid = client.submit(parse_job({...}))
client.wait(sid).state                                  # "succeeded"
client.fetch(sid, Path("here"))
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.errors import ArtifactMismatch, InvalidInput, NotFound, StoreUnavailable, Unavailable
from agent.livelog import LiveLogs
from agent.looking import Looker, Pace
from agent.model.job import Job, parse_job
from agent.model.records import Artifact, AttemptRecord, Cancel, Commit, HostRefusal, Outcome, Submission
from agent.model.usage import Usage
from agent.model.verdict import Standing
from agent.ports import ArtifactStore, DeadLetters, Queued, Submitter
from agent.results import Results, check_sid, new_sid
from agent.signing import Signature
from agent.transfer.archive import unpack
from agent.transfer.stream import Digested, chunks
from agent.wire import decode_native, encode, plain

_ANOTHER_ID = "an id is for one job and the repetitions of its submission: leave --id out, or choose another one"


class JobView(msgspec.Struct, frozen=True):
    """What the stores know of one job.

    state: waiting, claimed, started, dead, or the outcome of the commit; in lists also unreadable, for a damaged
    record. Times in seconds since the epoch. usage: of the attempt that ended last. n: the attempt that the view shows.
    """

    sid: str
    name: str
    queue: str
    state: str
    lane: str
    submitted_at: float
    attempts: int = 0
    host: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    refusals: tuple[HostRefusal, ...] = ()
    usage: Usage | None = None
    n: int | None = None

    @property
    def nearest_miss(self) -> HostRefusal | None:
        """Return what the host says that misses least; None unless all hosts that have looked refuse the waiting job.

        Nobody has run it yet then, and nobody is going to while hosts and job are as they are.
        """
        if self.state != "waiting" or self.attempts or not self.refusals:
            return None
        if any(each.standing is not Standing.REFUSED_HERE for each in self.refusals):
            return None
        return min(self.refusals, key=lambda each: (len(each.refusals), each.host))

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen to the job."""
        return self.state not in ("waiting", "claimed", "started")


def job_view(
    submission: Submission,
    attempts: tuple[AttemptRecord, ...],
    commit: Commit | None,
    buried: str | None,
    refusals: tuple[HostRefusal, ...],
) -> JobView:
    """Fold the records of one job into what people want to know."""
    view = JobView(
        sid=submission.sid,
        name=str(submission.job.get("name", "job")),
        queue=submission.queue,
        state="waiting",
        lane=submission.lane,
        submitted_at=submission.at,
        attempts=len(attempts),
        refusals=refusals,
    )
    if commit is not None:
        return _with_commit(view, commit)
    if buried is not None:
        return msgspec.structs.replace(view, state="dead", reason=buried)
    return _with_attempt(view, attempts[-1]) if attempts else view


def _with_commit(view: JobView, commit: Commit) -> JobView:
    return msgspec.structs.replace(
        view,
        state=commit.outcome.value,
        host=commit.host,
        started_at=commit.started_at,
        ended_at=commit.ended_at or commit.committed_at,
        exit_code=commit.exit_code,
        reason=commit.reason,
        artifacts=commit.artifacts,
        usage=commit.usage,
        n=commit.n,
    )


def _with_attempt(view: JobView, newest: AttemptRecord) -> JobView:
    if newest.outcome is None:
        started = newest.started_at
        return msgspec.structs.replace(view, state=newest.state, host=newest.host, started_at=started, n=newest.n)
    reason = f"attempt {newest.n} on {newest.host}: {newest.reason or newest.outcome.value}"
    return msgspec.structs.replace(view, reason=reason, artifacts=newest.artifacts, usage=newest.usage, n=newest.n)


class Client:
    """One queue as a submitter sees it. Methods raise StoreUnavailable; NotFound for a job that is not there."""

    def __init__(
        self,
        queue: str,
        submitter: Submitter,
        dead_letters: DeadLetters,
        results: Results,
        artifacts: ArtifactStore,
    ) -> None:
        self.queue = queue
        self._submitter = submitter
        self._dead_letters = dead_letters
        self._results = results
        self._artifacts = artifacts

    def submit(
        self, job: Job, by: str | None = None, signature: Signature | None = None, sid: str | None = None
    ) -> str:
        """Put the job into the queue, signed if there is a signature to make; return its submission id.

        sid: under this id, None = a new one. Under the id of an earlier submission of the same job this completes what
        was cut, and never makes a second job. Raises InvalidInput for an id that another job has.
        """
        now = time.time()
        earlier = None if sid is None else self._results.submission(check_sid(sid))
        if earlier is None:
            submission = self._submission(job, sid or new_sid(now, secrets.token_hex(4)), now, by)
        else:
            submission = self._same(earlier, job)
            if self._was_seen(earlier.sid):
                return earlier.sid
        body = None if signature is None else signature.sign(encode(parse_job(submission.job)))
        try:
            self._submitter.submit(submission, body)
        except Unavailable as error:
            again = f"`edge-agent submit --id {submission.sid}` with this job completes it, and makes no second one"
            raise type(error)(f"{error}; whether job {submission.sid} is submitted is not known: {again}") from error
        return submission.sid

    def _submission(self, job: Job, sid: str, now: float, by: str | None) -> Submission:
        stamped = msgspec.structs.replace(job, submitted_at=job.submitted_at or _date(now))
        return Submission(sid, plain(stamped), self.queue, "-".join(job.lane), now, by)

    def _same(self, earlier: Submission, job: Job) -> Submission:
        """Return the earlier submission if it is one of this job to this queue. Raises InvalidInput."""
        if earlier.queue != self.queue:
            raise InvalidInput(f'job "{earlier.sid}" was submitted to queue "{earlier.queue}"', hint=_ANOTHER_ID)
        recorded = parse_job(earlier.job)
        if msgspec.structs.replace(job, submitted_at=job.submitted_at or recorded.submitted_at) != recorded:
            raise InvalidInput(f'"{earlier.sid}" is the id of another job', hint=_ANOTHER_ID)
        return earlier

    def _was_seen(self, sid: str) -> bool:
        """Say whether a host has had the job from its queue, where it is until it is over, or it is over."""
        view = self.find(sid)
        return view.is_over or view.attempts > 0 or bool(view.refusals)

    def sids(self) -> tuple[str, ...]:
        """Return the ids of all jobs, sorted: those submitted here, and those dropped into the queue by hand."""
        by_hand = (waiting.sid for waiting in self._submitter.waiting())
        return tuple(sorted({*self._results.sids(), *by_hand, *self._dead_letters.sids()}))

    def find(self, sid: str) -> JobView:
        """Return what is known of a job."""
        attempts = tuple(record for record, _ in self._results.attempts(sid))
        commit = self._results.committed(sid)
        # What became of a letter is in the results store, wherever the letter itself was.
        letter = None if commit else self._results.burial(sid) or self._dead_letters.find(sid)
        buried = "; ".join(filter(None, (letter.became, letter.reason))) if letter else None
        known_since = letter.at if letter else attempts[0].claimed_at if attempts else None
        if known_since is None and commit is not None:
            known_since = commit.committed_at
        name = next((record.name for record in attempts if record.name), sid)
        submission = self._results.submission(sid) or self._dropped_in(sid, name, known_since)
        if submission is None:
            raise NotFound(f'queue "{self.queue}" knows no job "{sid}"; `edge-agent jobs` lists them')
        return job_view(submission, attempts, commit, buried, () if commit else self._results.refusals(sid))

    def attempts(self, sid: str) -> tuple[AttemptRecord, ...]:
        """Return all attempts at a job, first to last, with those that came too late."""
        return tuple(record for record, _ in self._results.attempts(sid))

    def job(self, sid: str) -> Job:
        """Return the job itself. Raises NotFound, and JobError for a message that is none."""
        submission = self._results.submission(sid)
        if submission is not None:
            return parse_job(submission.job)
        body = self._submitter.body(sid)
        if body is not None:
            return decode_native(body, {})
        raise NotFound(f'queue "{self.queue}" has no job "{sid}" to read')

    def _dropped_in(self, sid: str, name: str, known_since: float | None) -> Submission | None:
        """A job that somebody put into the queue by hand, or by another client, has no submission record."""
        waiting = self._seen(sid)
        if waiting is not None:
            return Submission(sid, {"name": name}, self.queue, waiting.lane, time.time() - waiting.age)
        return None if known_since is None else Submission(sid, {"name": name}, self.queue, "-", known_since)

    def _seen(self, sid: str) -> Queued | None:
        return next((each for each in self._submitter.waiting() if each.sid == sid), None)

    def jobs(self) -> tuple[JobView, ...]:
        """Return all jobs in the order of their ids, which is that of their submission."""
        return tuple(map(self._find_or_say, self.sids()))

    def _find_or_say(self, sid: str) -> JobView:
        """One damaged record must not hide all other jobs."""
        try:
            return self.find(sid)
        except StoreUnavailable as error:
            return JobView(sid, "-", self.queue, "unreadable", "-", time.time(), reason=str(error))

    def cancel(self, sid: str, by: str | None = None) -> None:
        """End a job, wherever it is: a waiting one at once, a running one when its agent sees the wish."""
        view, now = self.find(sid), time.time()
        if view.is_over:
            raise NotFound(f"job {sid} is over already")
        self._results.cancel(sid, Cancel(now, by))
        if view.state == "waiting":
            # An agent that claims it in this moment finds the commit when it ends, and its own result superseded.
            self._results.commit(Commit(sid, 0, by or "submitter", secrets.token_hex(8), Outcome.CANCELLED, now))
            self._submitter.withdraw(sid)

    def wait(self, sid: str, seen: Callable[[JobView], None] = lambda view: None) -> JobView:
        """Return the job when it is over; `seen` is called after each look on the way."""
        looker, pace, before = self.looker(sid), Pace(), None
        while True:
            view = looker.look()
            seen(view)
            if view.is_over:
                return view
            threading.Event().wait(pace.looked(time.monotonic(), view is not before))
            before = view

    def looker(self, sid: str) -> Looker:
        """Return what looks at a job again and again with few requests."""
        return Looker(sid, self.find, self._results, self._dead_letters)

    @property
    def live(self) -> LiveLogs:
        """The logs of jobs that run."""
        return LiveLogs(self._results.records)

    def log(self, sid: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the saved log from byte `offset` on. Raises NotFound when none is saved."""
        artifact = next((each for each in self.find(sid).artifacts if each.name == "log"), None)
        if artifact is None:
            raise NotFound(f"no log of job {sid} is saved yet")
        with self._artifacts.open(self._results.uri_of(artifact)) as stream:
            _skip(stream, offset)
            yield from chunks(stream)

    def fetch(self, sid: str, target: Path) -> tuple[Path, ...]:
        """Fetch everything the job left into the directory `target`; return the paths, trees unpacked.

        Raises NotFound when there is nothing, ArtifactMismatch when stored bytes changed, UnsafeArchive.
        """
        view = self.find(sid)
        if not view.artifacts:
            raise NotFound(f"job {sid} ({view.state}) has no results" + (f": {view.reason}" if view.reason else ""))
        return tuple(self._fetch(artifact, target) for artifact in view.artifacts)

    def _fetch(self, artifact: Artifact, target: Path) -> Path:
        place = target / artifact.name.removeprefix("outputs/")
        part = place.with_name(place.name + ".part")
        place.parent.mkdir(parents=True, exist_ok=True)
        with self._artifacts.open(self._results.uri_of(artifact)) as stream, part.open("wb") as file:
            content = Digested(chunks(stream))
            file.writelines(content)
        if content.sha256 != artifact.sha256:
            raise ArtifactMismatch(
                f"{artifact.key} has SHA-256 {content.sha256}, the job's record says {artifact.sha256}"
            )
        if artifact.kind == "tree":
            with part.open("rb") as file:
                unpack(file, place, own=True)
            part.unlink()
        else:
            part.replace(place)
        return place


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0 and (piece := stream.read(min(count, 1024 * 1024))):
        count -= len(piece)


def _date(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
