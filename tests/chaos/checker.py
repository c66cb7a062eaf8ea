"""What a run must have left, compared with what it left. Pure: from listings to sentences about what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from agent.model.records import AttemptRecord, Commit, Outcome
from agent.policy import counted

from tests.chaos.jobs import EXPECTED, NEVER_RUNS, output_is_right
from tests.chaos.schedule import Task

Told = Collection[tuple[str, int, str]]


class JobFacts(msgspec.Struct, frozen=True):
    """What the stores have of one job. dead: reason of its dead letter; waiting: the queue still holds it.

    tokens: of every commit that was ever seen of it, in the order of their appearance. outputs: name to text, of a
    directory one text for each of its files; published: text at the output's own place.
    """

    commit: Commit | None = None
    tokens: tuple[str, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    dead: str | None = None
    waiting: bool = False
    outputs: Mapping[str, tuple[str, ...]] = {}
    published: str | None = None


NOTHING = JobFacts()


def violations(
    tasks: Sequence[Task], facts: Mapping[str, JobFacts], told: Told, leftovers: Iterable[str]
) -> tuple[str, ...]:
    """Return what is wrong. told: (sid, attempt, "start" or "end") as the witness heard it; leftovers: of the hosts."""
    found: list[str] = []
    for task in tasks:
        seen = facts.get(task.sid, NOTHING)
        found += (f"{task.sid} ({task.kind}): {what}" for check in _CHECKS for what in check(task, seen, told))
    known = {task.sid for task in tasks}
    found += (f"{sid}: in the stores, and nobody submitted it" for sid in sorted(facts) if sid not in known)
    found += (f"left over: {what}" for what in leftovers)
    return tuple(found)


def _place(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    """Exactly one of: a result, a place in the queue, a place among the dead letters."""
    expected = EXPECTED[task.kind]
    places = {"results": seen.commit is not None, "queue": seen.waiting, "dead": seen.dead is not None}
    if not any(places.values()):
        yield "lost: it has no result, is not in the queue and not among the dead letters"
    elif not places[expected.place]:
        yield f"it is not in the {expected.place}"
    for place, there in places.items():
        if there and place != expected.place:
            yield f"it is in the {place}"


def _result(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    expected, commit = EXPECTED[task.kind], seen.commit
    if commit is None or not expected.outcomes:
        return
    if commit.outcome not in expected.outcomes:
        yield f"its result is {commit.outcome.value}: {commit.reason}"
    elif expected.exit_code is not None and commit.exit_code != expected.exit_code:
        yield f"its exit code is {commit.exit_code}, {expected.exit_code} would be right"


def _once(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    """One commit, by one attempt, whose record says so."""
    tokens = {*seen.tokens, *([seen.commit.token] if seen.commit else [])}
    if len(tokens) > 1:
        yield f"committed twice: tokens {', '.join(sorted(tokens))}"
    committed = [each.n for each in seen.attempts if each.state in ("committed", "settled")]
    if len(committed) > 1:
        yield f"committed twice: by attempts {', '.join(map(str, committed))}"
    if seen.commit is None or seen.commit.n == 0:
        if committed:
            yield f"attempt {committed[0]} says that it committed, the result is not its own"
        return
    winner = next((each for each in seen.attempts if each.n == seen.commit.n), None)
    if winner is None or winner.token != seen.commit.token:
        yield f"the commit names attempt {seen.commit.n}, of which there is no record"
    elif winner.outcome is not seen.commit.outcome:
        says = winner.outcome.value if winner.outcome else "nothing"
        yield f"attempt {winner.n} says {says}, its commit {seen.commit.outcome.value}"


def _ran(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    """What is said to have run has run."""
    expected, commit = EXPECTED[task.kind], seen.commit
    if task.kind in NEVER_RUNS:
        ran = sorted({n for sid, n, _ in told if sid == task.sid})
        if ran or seen.attempts:
            yield f"it must never run, and did: attempts {[each.n for each in seen.attempts] or ran}"
        return
    if commit is None:
        return
    if expected.starts and (task.sid, commit.n, "start") not in told:
        yield f"attempt {commit.n} is committed and never ran"
    if expected.ends and (task.sid, commit.n, "end") not in told:
        yield f"attempt {commit.n} is committed and never did its work"


def _outputs(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    expected, commit = EXPECTED[task.kind], seen.commit
    if commit is None or expected.output is None or commit.outcome is not Outcome.SUCCEEDED:
        return
    texts = seen.outputs.get(expected.output, ())
    if not texts:
        yield f"its output {expected.output} is missing"
    for text in texts:
        if not output_is_right(task, commit.n, text):
            yield f"its output {expected.output} is wrong: {text!r}"
    if task.kind == "published" and seen.published is None:
        yield "its output is missing at the place where it is published"
    elif seen.published is not None and not output_is_right(task, commit.n, seen.published):
        yield f"what is published is wrong: {seen.published!r}"


def _attempts(task: Task, seen: JobFacts, told: Told) -> Iterator[str]:
    """All have ended, and as many failed as the retries allow. The result counts, whoever took over meanwhile."""
    for each in seen.attempts:
        if each.outcome is None:
            yield f"attempt {each.n} on {each.host} still holds its lease: its record has no outcome"
    failures = EXPECTED[task.kind].failures
    won = seen.commit.n if seen.commit else None
    count = {each.n for each in counted(seen.attempts)} | {won}
    ends = [(each.n, each.outcome) for each in seen.attempts if each.n in count]
    failed = [n for n, outcome in ends if outcome is not None and outcome.is_failure_of_job]
    if failures is not None and seen.commit is not None and len(failed) != failures:
        yield f"attempts {failed} failed, and {failures} should have"


_CHECKS = (_place, _result, _once, _ran, _outputs, _attempts)
