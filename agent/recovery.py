"""What a new agent does with what an earlier one left. Decided from the journal, the holder and the boot id:

journal      the holder says           this agent
claimed      (was never asked)         gives back
started      absent                    gives back
started      running                   follows it again
started      exited                    delivers
started      lost                      reports it lost, gives back
             other boot                delivers what waited in the outbox, reports all others lost, gives back
committed    -                         publishes, settles, undoes
nothing      files of an attempt       undoes

Only what runs is followed by a thread of its own. All else is finished, and takes its turn in the outbox: there may be
a thousand of them, and the server that they waited for may still be away.
"""

from __future__ import annotations

import logging

import msgspec

from agent.attempt import Attempt, State, from_journal
from agent.context import Context
from agent.errors import HostFault, Unavailable
from agent.keeping import is_kept
from agent.model.records import Outcome
from agent.ports import RUNNING, Lease
from agent.steps import undo_all
from agent.watching import watch

log = logging.getLogger(__name__)


def recover(context: Context) -> tuple[Attempt, ...]:
    """Book every attempt of the journal again and return them, ready for `worker.follow`; undo what no entry owns.

    Those that are started run; all others are finished or committed.
    """
    attempts = tuple(_recovered(context, attempt) for attempt in _journalled(context))
    known = context.journal.load()
    root = context.state_dir / "attempts"
    for directory in sorted(root.iterdir()) if root.exists() else ():
        if directory.name not in known:
            _remove_orphan(context, directory.name)
    return attempts


def _remove_orphan(context: Context, attempt_id: str) -> None:
    log.warning("removing what no attempt owns", extra={"event": "orphan-removed", "attempt": attempt_id})
    try:
        undo_all(context, attempt_id)
    except (Unavailable, HostFault) as error:
        # The next start tries again; until then it costs disk, and a host that does not start costs more.
        fields = {"event": "orphan-stays", "attempt": attempt_id, "reason": str(error)}
        log.error("what no attempt owns cannot be removed", extra=fields)


def _journalled(context: Context) -> list[Attempt]:
    attempts = []
    for key, body in context.journal.load().items():
        try:
            attempt = from_journal(body)
        except msgspec.DecodeError as error:
            # Its lease runs out, somebody takes the job over; what it left on this host is undone as an orphan.
            log.error("unreadable journal entry", extra={"event": "journal-bad", "key": key, "reason": str(error)})
            context.journal.remove(key)
            continue
        if attempt.queue in context.queues:
            attempts.append(attempt)
        else:
            log.error("attempt of a queue that is not configured", extra={"event": "journal-queue", "attempt": key})
    return attempts


def _recovered(context: Context, attempt: Attempt) -> Attempt:
    queue = context.queue(attempt)
    lease = Lease(attempt.sid, attempt.handle, attempt.n, attempt.token)
    context.leases.hold(queue.source, queue.results, lease)
    context.ledger.adopt(attempt.id, attempt.reserved)
    log.info("attempt found", extra={"event": "attempt-found", "attempt": attempt.id, "state": attempt.state.value})
    if attempt.state is State.CLAIMED:
        attempt = context.ended(attempt, Outcome.STOPPED, "the agent was stopped while staging")
    elif attempt.state is State.STARTED and attempt.boot_id != context.boot_id:
        attempt = _after_reboot(context, attempt)
    if attempt.state is State.STARTED:
        attempt = _seen(context, attempt)
    context.board.show(attempt, "recovery")
    return attempt


def _after_reboot(context: Context, attempt: Attempt) -> Attempt:
    """What waited in the outbox was made durable (agent.keeping); of all others files may have gone with the host."""
    if context.runtime.status(attempt.id).exit is None:
        return context.ended(attempt, Outcome.LOST, "the host was restarted while it ran")
    if not is_kept(context.directory(attempt.id)):
        return context.ended(attempt, Outcome.LOST, "the host was restarted before its results were safe")
    return attempt


def _seen(context: Context, attempt: Attempt) -> Attempt:
    """Return the attempt finished if its container has ended; one whose holder does not answer may run."""
    try:
        runs = context.runtime.status(attempt.id).phase == RUNNING.phase
    except Unavailable:
        return attempt
    return attempt if runs else watch(context, attempt)
