"""A job that is here before there is room for it: staged meanwhile, claimed when there is room, else given back.

It is nobody's until it is claimed: another host that has room may run it, and this one then forgets it. So giving it
back costs no attempt and no retry, and after a kill nothing is left of it but a directory without an owner, which the
next start removes. A job that starves is held until it fits, see agent.spare.
"""

from __future__ import annotations

import contextlib
import logging
import math
from dataclasses import dataclass
from functools import partial

import msgspec

from agent.admission import claim_held, give_back, needed, waited
from agent.attempt import Attempt
from agent.context import Context, Queue
from agent.errors import EdgeAgentError, HostFault, Unavailable
from agent.model.job import Job
from agent.policy import LOOK_AGAIN_NOW
from agent.ports import Delivery
from agent.spare import Seat
from agent.steps import STAGE_STEPS

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks while nothing on this host changes
ELSEWHERE = 10.0  # seconds between questions whether another host runs the job
NO_ROOM = "no room"
OVERTAKEN = "overtaken"


def hold(context: Context, queue: Queue, delivery: Delivery, attempt: Attempt, seat: Seat) -> Attempt | None:
    """Stage a prefetched attempt, wait for room, and claim it; None when it was given back or is over."""
    seat.leave()
    claimed, rests_until = None, 0.0
    try:
        holding = _Holding(context, queue, delivery, seat, _starves_at(context, queue, delivery))
        holding.tell()
        attempt = _staged(context, attempt)
        why = holding.wait(attempt)
        if why is None:
            claimed = claim_held(context, queue, delivery, attempt)
        elif why == NO_ROOM:
            rests_until = context.clock.boottime() + context.spare.terms.hold
    finally:
        if claimed is None:
            _forget(context, attempt)
        context.spare.leave(delivery.sid, rests_until)
        context.board.problem(_part(delivery.sid), None)
    if why is not None:
        _give_back(context, queue, delivery.sid, why)
    return claimed


def _starves_at(context: Context, queue: Queue, delivery: Delivery) -> float:
    """Return the time since boot from which on the job must not be passed over any more."""
    if context.spare.starving == delivery.sid:
        return -math.inf
    try:
        return context.clock.boottime() + context.spare.terms.starve_after - waited(context, queue, delivery)
    except Unavailable:
        return math.inf  # it is looked at again when it comes again


def _staged(context: Context, attempt: Attempt) -> Attempt:
    """Bring together what the attempt needs. Where that fails, it is done again once it is claimed, and counts then."""
    if attempt.reserved.disk < attempt.job.requires.disk:
        return attempt
    try:
        for step in STAGE_STEPS:
            if context.board.stop_wish(attempt.id) or context.detaching.is_set():
                return attempt
            context.board.show(attempt, step.name)
            step.apply(context, attempt)
    except EdgeAgentError as error:
        fields = {"event": "prefetch-failed", "attempt": attempt.id, "reason": str(error)}
        log.info("job cannot be staged ahead", extra=fields)
        _undo(context, attempt)
        return attempt
    return msgspec.structs.replace(attempt, staged=True)


def _undo(context: Context, attempt: Attempt) -> None:
    try:
        for step in reversed(STAGE_STEPS):
            step.undo(context, attempt.id)
    except (Unavailable, HostFault) as error:
        # The next attempt of this number, or the next start of the agent, removes it.
        fields = {"event": "prefetch-stays", "attempt": attempt.id, "reason": str(error)}
        log.error("what was staged ahead cannot be removed", extra=fields)


def _forget(context: Context, attempt: Attempt) -> None:
    _undo(context, attempt)
    context.counters.forget(attempt.id)
    context.ledger.release(attempt.id)
    context.board.forget(attempt)


def _give_back(context: Context, queue: Queue, sid: str, why: str) -> None:
    """Last of all: as long as the source holds the job, no worker of this agent takes it again."""
    log.info("held job given back", extra={"event": "job-given-back", "sid": sid, "reason": why})
    held = context.leases.drop(sid)
    if held is None:
        return
    low, high = LOOK_AGAIN_NOW
    delay = low + (high - low) * context.random() if why == NO_ROOM else 0.0
    with contextlib.suppress(Unavailable):  # then it comes again when its lease ends
        give_back(context, queue, held.lease, delay)


def _part(sid: str) -> str:
    return f"job {sid}"


@dataclass
class _Holding:
    """The wait of one job for room. starves_at: seconds since boot."""

    context: Context
    queue: Queue
    delivery: Delivery
    seat: Seat
    starves_at: float

    def wait(self, attempt: Attempt) -> str | None:
        """Wait until all that the attempt needs is reserved: None. Else say why it is not held any longer."""
        board, now = self.context.board, self.context.clock.boottime()
        board.show(attempt, "held")
        until, ask_at, job = now + self.context.spare.terms.hold, now + ELSEWHERE, attempt.job
        while True:
            seen, now = board.stirs, self.context.clock.boottime()
            why = self._ended(attempt)
            if why is None and now >= ask_at:
                ask_at, why = now + ELSEWHERE, self._elsewhere()
            if why is not None:
                return why
            if self._has_room(attempt.id, job):
                return self._overtaken()
            self._grow_impatient(now)
            if now >= until and not self._starving:
                return NO_ROOM
            board.wait(seen, LOOK)

    def tell(self) -> None:
        """Say of a job that starves why nothing else starts."""
        if self._starving:
            sentence = "waits for more than is free here; nothing else starts until running jobs have made room for it"
            if self.context.board.problem(_part(self.delivery.sid), sentence):
                log.warning("job starves", extra={"event": "job-starves", "sid": self.delivery.sid})

    @property
    def _starving(self) -> bool:
        return self.context.spare.starving == self.delivery.sid

    def _ended(self, attempt: Attempt) -> str | None:
        """Say what somebody wishes, or that another job has the place."""
        board = self.context.board
        wish = board.stop_wish(attempt.id) or ("stopped" if self.context.detaching.is_set() else None)
        if wish is None and not board.mode.takes_work:
            wish = board.mode.name
        return wish or (None if self.context.spare.keeps(attempt.sid) else OVERTAKEN)

    def _elsewhere(self) -> str | None:
        try:
            standing = self.queue.results.standing(self.delivery.sid, self.queue.lease)
        except Unavailable:
            return None
        return None if standing.expires_in is None else "runs elsewhere"

    def _has_room(self, attempt_id: str, job: Job) -> bool:
        """Take a worker and reserve all that the job needs, or neither."""
        ledger = self.context.ledger
        free = ledger.free(besides=attempt_id)
        need = needed(self.context, job, free)
        if need is None or not free.covers(need) or not self.seat.retake():
            return False
        if ledger.book(attempt_id, partial(needed, self.context, job)) is None:
            self.seat.leave()
            return False
        return True

    def _overtaken(self) -> str | None:
        """Say whether a more urgent job waits, which gets the room then."""
        if self._starving or self.queue.overtaken is None:
            return None
        try:
            return OVERTAKEN if self.queue.overtaken(self.delivery.sid) else None
        except Unavailable:
            return None

    def _grow_impatient(self, now: float) -> None:
        """Let nothing else start once others, for which workers are free, have passed the job for too long."""
        if now >= self.starves_at and not self._starving and self.seat.free:
            self.context.spare.starves(self.delivery.sid)
            self.tell()
