"""From a delivery to a claimed attempt: decode, match, reserve, claim. Whatever is not claimed is answered here.

A job that would start if less were going on here may be held instead, see agent.holding: then it comes back prefetched.
"""

from __future__ import annotations

import contextlib
import logging
import math

import msgspec

from agent.attempt import Attempt, Event, State
from agent.board import Refused
from agent.committing import publish
from agent.context import Context, Queue
from agent.errors import Dropped, HostFault, JobError, JobFault, Unavailable
from agent.lanes import has_room
from agent.matching import Images, candidate_archs, chosen_units, match, need
from agent.model.cargo import Cargo, Decoded
from agent.model.job import Image, Job
from agent.model.records import Burial, Commit, HostRefusal, Outcome
from agent.model.share import Share
from agent.model.verdict import Standing, Verdict
from agent.policy import LOOK_AGAIN_NOW, SETUP_FAILURE_HOSTS, Case, hopeless, refusal_delay
from agent.ports import Delivery, ImageFacts, Lease
from agent.results import Standing as Turn
from agent.spare import SEATED, Guest, Seat
from agent.wire import plain

log = logging.getLogger(__name__)


def admit(context: Context, queue: Queue, delivery: Delivery, seat: Seat = SEATED) -> Attempt | None:
    """Return the attempt that this host claimed or prefetched, or None: it was settled, released or adopted."""
    if context.leases.adopt(delivery.sid, delivery.handle):
        return None
    if context.spare.keeps(delivery.sid):  # what was staged of it is being removed
        _put_back(context, queue, Lease(delivery.sid, delivery.handle), LOOK_AGAIN_NOW[0])
        return None
    context.leases.hold(queue.source, queue.results, Lease(delivery.sid, delivery.handle))
    return _answered(context, queue, delivery, seat, None)


def claim_held(context: Context, queue: Queue, delivery: Delivery, held: Attempt) -> Attempt | None:
    """Return the prefetched attempt claimed, now that all it needs is reserved, or None: the delivery was answered.

    What held of the job when it came is looked at again.
    """
    lease = context.leases.lease(delivery.sid)  # a redelivery may have been adopted meanwhile
    delivery = msgspec.structs.replace(delivery, handle=lease.handle if lease else delivery.handle)
    return _answered(context, queue, delivery, SEATED, held)


def _answered(context: Context, queue: Queue, delivery: Delivery, seat: Seat, held: Attempt | None) -> Attempt | None:
    lease = Lease(delivery.sid, delivery.handle)
    try:
        attempt = _admit(context, queue, delivery, lease, seat, held)
    except (Unavailable, HostFault) as error:
        log.warning("job put back", extra={"event": "job-deferred", "sid": delivery.sid, "reason": str(error)})
        context.board.problem(f"jobs of {queue.name}", str(error))
        _put_back(context, queue, lease, context.back_off.delay(2, context.random()))
        attempt = None
    else:
        context.board.problem(f"jobs of {queue.name}", None)
    if attempt is None:
        context.leases.drop(delivery.sid)
    return attempt


def _admit(
    context: Context, queue: Queue, delivery: Delivery, lease: Lease, seat: Seat, held: Attempt | None
) -> Attempt | None:
    try:
        decoded = context.decode(delivery, 1)
    except JobError as error:
        if isinstance(error, Dropped) or not queue.keeps_dead:
            drop(context, queue, delivery, lease, error)
        else:
            bury(context, queue, delivery, lease, str(error))
        return None
    if _is_over(context, queue, delivery, lease, decoded):
        return None
    images = _images(context, decoded)
    verdict = _match(context, decoded, images, context.ledger.free(besides=held.id if held else None))
    if verdict.accepted and seat.taken and not context.spare.blocks(delivery.sid):
        turn = queue.results.standing(delivery.sid, queue.lease)
        if _is_hopeless(context, queue, delivery, lease, decoded, turn):
            return None
        attempt = _claim(context, queue, delivery, decoded, verdict, turn, held)
        verdict = Verdict(Standing.REFUSED_NOW)
    else:
        attempt = _prefetch(context, queue, delivery, decoded, images, passed_over=seat.taken and not verdict.accepted)
    if attempt is None:
        _refuse(context, queue, lease, decoded.job, verdict)
    return attempt


def drop(context: Context, queue: Queue, delivery: Delivery, lease: Lease, error: JobError) -> None:
    """Take a delivery that nobody can run off the queue, noted in the log and in the results store."""
    reason, about = str(error), getattr(error, "about", None)
    queue.results.bury(delivery.sid, Burial(reason, context.host_id, context.clock.time()))
    context.observers.not_run(delivery, about if isinstance(about, Cargo) else None, reason)
    queue.source.settle(lease)
    log.error("message dropped", extra={"event": "job-dropped", "sid": delivery.sid, "reason": reason})


def bury(context: Context, queue: Queue, delivery: Delivery, lease: Lease, reason: str) -> None:
    """Move a delivery that nobody can run to the dead letters, then off the queue."""
    queue.dead_letters.bury(delivery, reason, context.host_id)
    queue.source.settle(lease)
    log.error("message cannot be run", extra={"event": "job-buried", "sid": delivery.sid, "reason": reason})


def _is_over(context: Context, queue: Queue, delivery: Delivery, lease: Lease, decoded: Decoded) -> bool:
    """Close what needs no run: committed already (repair the publishing), cancelled, expired."""
    commit = queue.results.committed(delivery.sid)
    if commit is None:
        outcome = _end_without_run(context, queue, delivery, decoded.expires_at)
        if outcome is None:
            return False
        context.observers.not_run(delivery, decoded.cargo, outcome.value)
        commit = Commit(delivery.sid, 0, context.host_id, context.token(), outcome, context.clock.time())
        if not queue.results.commit(commit):
            commit = queue.results.committed(delivery.sid) or commit
    publish(context, queue, commit.artifacts)
    queue.source.settle(lease)
    log.info("job is over", extra={"event": "job-over", "sid": delivery.sid, "outcome": commit.outcome.value})
    return True


def _end_without_run(context: Context, queue: Queue, delivery: Delivery, expires_at: float | None) -> Outcome | None:
    if queue.results.cancelled(delivery.sid) is not None:
        return Outcome.CANCELLED
    if expires_at is not None and _has_expired(context, queue, delivery, expires_at):
        return Outcome.EXPIRED
    return None


def _has_expired(context: Context, queue: Queue, delivery: Delivery, expires_at: float) -> bool:
    """Judge by the store's clock: this host's may be wrong by years. It counts for a job that nobody recorded."""
    age = queue.results.submitted_ago(delivery.sid)
    if age is None:
        return context.clock.time() >= expires_at
    return age >= expires_at - delivery.submitted_at


def _images(context: Context, decoded: Decoded) -> Images:
    job, images = decoded.job, {}
    policy = context.policy.with_rights_on(decoded.cargo.access)
    for arch in candidate_archs(job, context.profile(), policy):
        image = job.image_for(arch)
        if image is not None:
            images[arch] = _facts(context, image, arch, decoded.cargo)
    return images


def _match(context: Context, decoded: Decoded, images: Images, free: Share) -> Verdict:
    policy = context.policy.with_rights_on(decoded.cargo.access)
    return match(decoded.job, context.profile(), context.ledger.share, free, images, policy)


def _facts(context: Context, image: Image, arch: str, cargo: Cargo) -> ImageFacts | None:
    """Return what is known of an image; one that the message brings and nobody can have is found out by an attempt.

    No other host has it either, and a failed attempt is how its sender learns of it.
    """
    brought = image.uri in cargo.access
    try:
        found = context.images.facts(image, cargo)
    except JobFault as error:
        found = None if brought else ImageFacts(None, 0, str(error))
    return ImageFacts(arch, 0) if found is None and brought else found


def _is_hopeless(
    context: Context, queue: Queue, delivery: Delivery, lease: Lease, decoded: Decoded, turn: Turn
) -> bool:
    """Bury, as it came, the message of a job that three hosts could not set up.

    Whoever gets it after the last of them does so: only here is the message itself at hand.
    """
    if turn.expires_in is not None or turn.next_n <= SETUP_FAILURE_HOSTS:
        return False
    reason = hopeless(record for record, _ in queue.results.attempts(delivery.sid))
    if reason is None:
        return False
    context.observers.not_run(delivery, decoded.cargo, reason)
    bury(context, queue, delivery, lease, reason)
    return True


def _claim(
    context: Context,
    queue: Queue,
    delivery: Delivery,
    decoded: Decoded,
    verdict: Verdict,
    turn: Turn,
    held: Attempt | None,
) -> Attempt | None:
    """Reserve and claim.

    The journal comes first: a claim that nobody remembers would hold the job until its lease ends.
    """
    if turn.expires_in is not None:
        return None  # claimed by somebody else since it was pulled
    if turn.next_n != 1:
        decoded = context.decode(delivery, turn.next_n)
    attempt = _attempt(context, queue, delivery, decoded, verdict, turn.next_n)
    if held is not None:
        if held.id != attempt.id or held.arch != attempt.arch:
            return None  # what was staged is for another attempt
        attempt = msgspec.structs.replace(attempt, staged=held.staged, state=held.on(Event.CLAIM).state)
    reserved = context.ledger.book(attempt.id, lambda free: needed(context, decoded.job, free))
    if reserved is None:
        return None
    attempt = msgspec.structs.replace(attempt, reserved=reserved, took_over=turn.unreported)
    try:
        context.note(attempt)
        claimed = queue.results.claim(attempt.record())
    except (Unavailable, HostFault):
        _unclaim(context, attempt)
        raise
    if not claimed:
        _unclaim(context, attempt)
        return None
    context.leases.hold(queue.source, queue.results, Lease(attempt.sid, attempt.handle, attempt.n, attempt.token))
    fields = {"event": "job-claimed", "attempt": attempt.id, "job": decoded.job.name}
    log.info("job claimed", extra=fields if decoded.signer is None else {**fields, "signer": decoded.signer})
    return attempt


def _attempt(context: Context, queue: Queue, delivery: Delivery, decoded: Decoded, verdict: Verdict, n: int) -> Attempt:
    return Attempt(
        sid=delivery.sid,
        n=n,
        token=context.token(),
        host=context.host_id,
        queue=queue.name,
        handle=delivery.handle,
        boot_id=context.boot_id,
        claimed_at=context.clock.time(),
        table=plain(decoded.job),
        arch=verdict.arch or "",
        emulated=verdict.emulated,
        reserved=need(decoded.job),
        cargo=decoded.cargo,
    )


def _prefetch(
    context: Context, queue: Queue, delivery: Delivery, decoded: Decoded, images: Images, *, passed_over: bool
) -> Attempt | None:
    """Let the job have the spare place, if the empty host would run it. passed_over: others may start before it.

    Nothing is claimed: whoever has room first runs it. So nothing is journalled either, and its lease is the queue's.
    """
    terms = context.spare.terms
    starving = passed_over and waited(context, queue, delivery) >= terms.starve_after
    if passed_over and queue.shares_delays and not starving and has_room(context.ledger.free()):
        return None  # another host may have room for it, and would not see it
    verdict = _match(context, decoded, images, context.ledger.share)
    if not verdict.accepted or not (terms.prefetch or starving):
        return None
    standing = queue.results.standing(delivery.sid, queue.lease)
    if standing.expires_in is not None:
        return None
    if standing.next_n != 1:
        decoded = context.decode(delivery, standing.next_n)
    attempt = _attempt(context, queue, delivery, decoded, verdict, standing.next_n)
    disk = context.ledger.book(attempt.id, lambda _: Share(disk=attempt.reserved.disk))
    # One that waits for disk as well is not staged yet: its time has come all the same.
    if disk is None and not starving:
        return None
    if not context.spare.offer(Guest(delivery.sid, decoded.job.priority, starving)):
        context.ledger.release(attempt.id)
        return None
    attempt = msgspec.structs.replace(attempt, state=State.PREFETCHED, reserved=disk or Share())
    with contextlib.suppress(Unavailable):
        queue.source.extend([Lease(delivery.sid, delivery.handle)])  # unclaimed: others may have it, where they see it
    context.board.show(attempt)
    log.info("job held", extra={"event": "job-held", "attempt": attempt.id, "starving": starving})
    return attempt


def waited(context: Context, queue: Queue, delivery: Delivery) -> float:
    """Return the seconds since the job was submitted, by a server's clock where one has seen that."""
    if context.spare.terms.starve_after == math.inf:
        return 0.0
    ago = queue.results.submitted_ago(delivery.sid)
    return context.clock.time() - delivery.submitted_at if ago is None else ago


def needed(context: Context, job: Job, free: Share) -> Share | None:
    """Return what the job takes of what is free, its GPU units named; None when there are too few of these."""
    units = chosen_units(job, context.profile(), free.gpus)
    return None if units is None else need(job, units)


def _unclaim(context: Context, attempt: Attempt) -> None:
    context.ledger.release(attempt.id)
    context.board.forget(attempt)
    context.journal.remove(attempt.id)


def _refuse(context: Context, queue: Queue, lease: Lease, job: Job, verdict: Verdict) -> None:
    refused = Refused(lease.sid, job.name, queue.name, verdict.standing.value, verdict.refusals)
    # With nothing running, it is not another job that is in the way: somebody has to hear of it.
    stuck = verdict.standing is Standing.REFUSED_HERE or not context.ledger.busy()
    if verdict.refusals and context.board.refuse(refused) and (stuck or queue.results.refusals(lease.sid)):
        # Where others have said that it does not fit them, it counts that it fits this host, if not now.
        _announce(context, queue, lease.sid, verdict)
    case = Case.REFUSED_HERE if verdict.standing is Standing.REFUSED_HERE else Case.REFUSED_NOW
    delay = refusal_delay(case, context.random(), shared=queue.shares_delays)
    if stuck and verdict.refusals:
        queue.source.release(lease, delay)
    else:
        release(context, queue, lease, delay)


def _announce(context: Context, queue: Queue, sid: str, verdict: Verdict) -> None:
    """Tell the submitter, through the results store, why this host does not run the job."""
    queue.results.refuse(sid, HostRefusal(context.host_id, context.clock.time(), verdict.refusals, verdict.standing))
    reasons = "; ".join(f"{refusal}: {refusal.remedy}" for refusal in verdict.refusals)
    log.info("job does not fit this host", extra={"event": "job-refused", "sid": sid, "reason": reasons})


def give_back(context: Context, queue: Queue, lease: Lease, delay: float) -> None:
    """Give a delivery back that may start here after `delay`, or, while no new work is taken, at once elsewhere."""
    if context.board.mode.takes_work and not context.detaching.is_set():
        release(context, queue, lease, delay)
    else:
        queue.source.release(lease, 0.0)


def _put_back(context: Context, queue: Queue, lease: Lease, delay: float) -> None:
    """Release a delivery; from a queue that does not answer it comes again when its lease ends."""
    with contextlib.suppress(Unavailable):
        release(context, queue, lease, delay)


def release(context: Context, queue: Queue, lease: Lease, delay: float) -> None:
    """Give a delivery back that this host means to take later."""
    context.board.will_return(lease.sid, context.clock.boottime() + delay)
    queue.source.release(lease, delay)
