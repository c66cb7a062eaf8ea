"""From a delivery to a claimed attempt: decode, match, reserve, claim. Whatever is not claimed is answered here."""

from __future__ import annotations

import logging

import msgspec

from agent.attempt import Attempt
from agent.board import Refused
from agent.committing import publish
from agent.context import Context, Queue
from agent.errors import Dropped, HostFault, JobError, JobFault, Unavailable
from agent.matching import candidate_archs, chosen_units, match, need
from agent.model.cargo import Cargo, Decoded
from agent.model.job import Image, Job
from agent.model.records import Burial, Commit, HostRefusal, Outcome
from agent.model.share import Share
from agent.model.verdict import Refusal, Standing, Verdict
from agent.ports import Delivery, ImageFacts, Lease
from agent.wire import plain

log = logging.getLogger(__name__)

LOOK_AGAIN_HERE = 600.0  # a refused-here job is looked at again: images appear, hosts change
LOOK_AGAIN_NOW = (2.0, 10.0)


def admit(context: Context, queue: Queue, delivery: Delivery) -> Attempt | None:
    """Return the attempt that this host claimed on the delivery, or None: it was settled, released or adopted."""
    if context.leases.adopt(delivery.sid, delivery.handle):
        return None
    lease = Lease(delivery.sid, delivery.handle)
    context.leases.hold(queue.source, queue.results, lease)
    try:
        attempt = _admit(context, queue, delivery, lease)
    except (Unavailable, HostFault) as error:
        log.warning("job put back", extra={"event": "job-deferred", "sid": delivery.sid, "reason": str(error)})
        release(context, queue, lease, context.back_off.delay(2, context.random()))
        attempt = None
    if attempt is None:
        context.leases.drop(delivery.sid)
    return attempt


def _admit(context: Context, queue: Queue, delivery: Delivery, lease: Lease) -> Attempt | None:
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
    verdict = _match(context, decoded)
    if verdict.accepted:
        attempt = _claim(context, queue, delivery, decoded, verdict)
        if attempt is not None:
            return attempt
        verdict = Verdict(Standing.REFUSED_NOW)
    _refuse(context, queue, lease, decoded.job, verdict)
    return None


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
    if expires_at is not None and context.clock.time() > expires_at:
        return Outcome.EXPIRED
    return None


def _match(context: Context, decoded: Decoded) -> Verdict:
    job, profile = decoded.job, context.profile()
    images = {}
    policy = context.policy.with_rights_on(decoded.cargo.access)
    for arch in candidate_archs(job, profile, policy):
        image = job.image_for(arch)
        if image is not None:
            images[arch] = _facts(context, image, arch, decoded.cargo)
    return match(job, profile, context.ledger.share, context.ledger.free(), images, policy)


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


def _claim(context: Context, queue: Queue, delivery: Delivery, decoded: Decoded, verdict: Verdict) -> Attempt | None:
    """Reserve and claim.

    The journal comes first: a claim that nobody remembers would hold the job until its lease ends.
    """
    standing = queue.results.standing(delivery.sid, queue.lease)
    if standing.expires_in is not None:
        return None  # claimed by somebody else since it was pulled
    if standing.next_n != 1:
        decoded = context.decode(delivery, standing.next_n)
    attempt = _attempt(context, queue, delivery, decoded, verdict, standing.next_n)
    reserved = context.ledger.book(attempt.id, lambda free: _need(context, decoded.job, free))
    if reserved is None:
        return None
    attempt = msgspec.structs.replace(attempt, reserved=reserved)
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


def _need(context: Context, job: Job, free: Share) -> Share | None:
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
    if verdict.refusals and context.board.refuse(refused) and stuck:
        _announce(context, queue, lease.sid, verdict.refusals)
    low, high = LOOK_AGAIN_NOW
    soon = low + (high - low) * context.random()
    if verdict.standing is Standing.REFUSED_HERE and not queue.shares_delays:
        queue.source.release(lease, LOOK_AGAIN_HERE * (1 + context.random() / 2))
    elif stuck and verdict.refusals:
        queue.source.release(lease, soon)
    else:
        release(context, queue, lease, soon)


def _announce(context: Context, queue: Queue, sid: str, refusals: tuple[Refusal, ...]) -> None:
    """Tell the submitter, through the results store, why this host does not run the job."""
    queue.results.refuse(sid, HostRefusal(context.host_id, context.clock.time(), refusals))
    reasons = "; ".join(f"{refusal}: {refusal.remedy}" for refusal in refusals)
    log.info("job does not fit this host", extra={"event": "job-refused", "sid": sid, "reason": reasons})


def release(context: Context, queue: Queue, lease: Lease, delay: float) -> None:
    """Give a delivery back that this host means to take later."""
    context.board.will_return(lease.sid, context.clock.boottime() + delay)
    queue.source.release(lease, delay)
