"""Every row of the table of settling, made to happen: on a queue of this agent's kind and on a plain one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent.admission import admit
from agent.attempt import Attempt, Ending
from agent.delivery import deliver
from agent.foreign import NotedDeadLetters
from agent.model.records import AttemptRecord, Commit, Outcome
from agent.policy import SETTLING, Case, Message, Pause, Row
from agent.worker import stage_and_launch

from tests.worlds import QUEUE, World, world

# Seconds of the fake clock after which a message that was given back has come again; pauses are cut by a quarter.
COMES_AGAIN = {Pause.AT_ONCE: 0.0, Pause.SOON: 6.5, Pause.GROWING: 8.0, Pause.LATE: 800.0}
Make = Callable[[World], str]


def launched(made: World, **keys: object) -> Attempt:
    """Return an attempt whose container has ended, with nothing delivered yet."""
    made.submit("exit 1", **keys)
    delivery = made.pull()
    assert delivery is not None
    attempt = admit(made.context, made.queue, delivery)
    assert attempt is not None
    attempt = stage_and_launch(made.context, attempt)
    assert made.runtime.status(attempt.id, 10).exit is not None
    return attempt


def ended(outcome: Outcome, **keys: object) -> Make:
    """Return what makes an attempt that ends so, delivered."""

    def make(made: World) -> str:
        attempt = launched(made, **keys)
        deliver(made.context, attempt.ended(Ending(outcome, "because", 1)))
        return attempt.sid

    return make


def lease_lost(made: World) -> str:
    attempt = launched(made)
    made.overtake(attempt.sid, 2)
    deliver(made.context, attempt.ended(Ending(Outcome.SUPERSEDED, "another attempt took over", None)))
    return attempt.sid


def committed_elsewhere(made: World) -> str:
    attempt = launched(made)
    assert made.results.commit(Commit(attempt.sid, 2, "rival", "token-of-rival", Outcome.SUCCEEDED, 0.0))
    deliver(made.context, attempt.ended(Ending(Outcome.SUCCEEDED, None, 0)))
    return attempt.sid


def expired(made: World) -> str:
    sid = made.submit(expires="5s")
    made.clock.advance(6)
    made.run_one()
    return sid


def failed_on_three_hosts(made: World) -> str:
    sid = made.submit()
    for n, host in enumerate(("host-b", "host-c", "host-d"), 1):
        made.overtake(sid, n, host, outcome=Outcome.SETUP_FAILED, reason="no such runtime")
    made.run_one()
    return sid


def over(made: World) -> str:
    sid = made.submit()
    # The queue of this world looks for commits itself; a message that comes all the same is what counts here.
    delivery = made.pull()
    assert delivery is not None
    assert made.results.commit(Commit(sid, 1, "rival", "token-of-rival", Outcome.SUCCEEDED, 0.0))
    assert admit(made.context, made.queue, delivery) is None
    return sid


def refused_now(made: World) -> str:
    made.context.ledger.book("other", lambda free: made.share)
    sid = made.submit()
    made.run_one()
    return sid


def refused_here(made: World) -> str:
    sid = made.submit(requires={"cpus": 64})
    made.run_one()
    return sid


def unreadable(made: World) -> str:
    sid = made.submit_raw(b"{}")
    made.run_one()
    return sid


WAYS: dict[Case, Make] = {
    Case.SUCCEEDED: ended(Outcome.SUCCEEDED),
    Case.FAILED: ended(Outcome.FAILED),
    Case.FAILED_RETRY: ended(Outcome.FAILED, retries=1),
    Case.CANCELLED: ended(Outcome.CANCELLED),
    Case.EXPIRED: expired,
    Case.STOPPED: ended(Outcome.STOPPED),
    Case.SETUP_FAILED: ended(Outcome.SETUP_FAILED),
    Case.SETUP_FAILED_EVERYWHERE: failed_on_three_hosts,
    Case.DEFERRED: ended(Outcome.DEFERRED),
    Case.LOST: ended(Outcome.LOST),
    Case.SUPERSEDED: lease_lost,
    Case.COMMITTED_ELSEWHERE: committed_elsewhere,
    Case.OVER: over,
    Case.REFUSED_NOW: refused_now,
    Case.REFUSED_HERE: refused_here,
    Case.UNREADABLE: unreadable,
}


def plain(made: World) -> World:
    """Return the world with a queue that others fill: without dead letters, put off for all hosts at once."""
    noted = NotedDeadLetters(made.results, made.clock)
    queue = replace(made.queue, dead_letters=noted, keeps_dead=False, shares_delays=True)
    made.change(queues={QUEUE: queue})
    return made


def own(made: World, sid: str) -> AttemptRecord | None:
    """Return the record of this host's attempt."""
    return next((record for record in made.attempts(sid) if record.host == made.host), None)


def message(made: World, sid: str) -> Message:
    if sid not in made.waiting():
        return Message.OFF
    rival = any(record.outcome is None and record.host != made.host for record in made.attempts(sid))
    return Message.LEFT if rival else Message.BACK


def pause(made: World, sid: str) -> Pause:
    """Wait until the message comes again, and say how long it took."""
    start = made.clock.boottime()
    for name, seconds in COMES_AGAIN.items():
        made.clock.advance(start + seconds - made.clock.boottime())
        if (delivery := made.pull()) is not None:
            assert delivery.sid == sid
            return name
    return Pause.NONE


def seen(made: World, sid: str) -> Row:
    """Return what has become of the job, as a row of the table."""
    record = own(made, sid)
    outcome = record.outcome if record else None
    commit = made.results.committed(sid)
    where = message(made, sid)
    ends = "-" if outcome is None else "superseded" if outcome is Outcome.SUPERSEDED else "outcome"
    return Row(
        where,
        ends,
        commits=commit is not None and commit.host == made.host,
        uses_retry=outcome is not None and outcome.is_failure_of_job,
        pause=pause(made, sid) if where is Message.BACK else Pause.NONE,
        letter=made.queue.dead_letters.find(sid) is not None,
    )


def test_every_row_is_made_to_happen() -> None:
    assert set(WAYS) == set(SETTLING)


@pytest.mark.parametrize("case", Case, ids=lambda case: str(case.value).replace(" ", "-"))
def test_a_row_holds_on_a_queue_of_this_agents_kind(tmp_path: Path, case: Case) -> None:
    made = world(tmp_path)
    assert seen(made, WAYS[case](made)) == SETTLING[case]
    made.runtime.close()


@pytest.mark.parametrize("case", Case, ids=lambda case: str(case.value).replace(" ", "-"))
def test_a_row_holds_on_a_plain_queue_but_for_what_hosts_share(tmp_path: Path, case: Case) -> None:
    made = plain(world(tmp_path))
    row = SETTLING[case]
    if row.pause is Pause.LATE:
        row = row._replace(pause=Pause.SOON)
    sid = WAYS[case](made)
    assert seen(made, sid) == row
    assert made.buried(sid) is None, "a plain queue has no dead letters: they are noted"
    made.runtime.close()
