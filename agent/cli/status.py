"""`edge-agent status`: this host's agent, or one job."""

from __future__ import annotations

import time

import click
import msgspec

from agent.cli.context import config_from
from agent.cli.jobs import COLUMNS, row
from agent.cli.output import because, print_json, print_table
from agent.cli.stores import find_job
from agent.cli.use import show_totals, show_usage
from agent.client import JobView
from agent.control.client import ask
from agent.control.protocol import AttemptView, Snapshot, Status
from agent.errors import InvalidInput
from agent.model.records import AttemptRecord
from agent.model.share import Share
from agent.model.units import show_duration, show_size


@click.command()
@click.argument("job", required=False)
@click.option("--queue", metavar="NAME", help="Look for the job in this queue only.")
@click.option("--attempts", is_flag=True, help="Show every attempt at JOB, also those that another one overtook.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, job: str | None, queue: str | None, attempts: bool, as_json: bool) -> None:
    """Show what this host's agent is doing, or what became of JOB, from the results store."""
    config = config_from(ctx).config
    if job is not None:
        client, view = find_job(config, job, queue)
        if attempts:
            _show_attempts(client.attempts(view.sid), as_json)
        else:
            print_json(view) if as_json else _print_job(view)
        return
    if attempts:
        raise InvalidInput("--attempts without a job", hint="`edge-agent status JOB --attempts`")
    snapshot = ask(config.state_dir, Status())
    if as_json:
        print_json(msgspec.to_builtins(snapshot))
    else:
        _print(snapshot)


def _show_attempts(attempts: tuple[AttemptRecord, ...], as_json: bool) -> None:
    if as_json:
        # Tokens are proofs of a lease: nobody else needs them.
        print_json([{**msgspec.to_builtins(each), "token": None} for each in attempts])
    else:
        print_table("", ("n", "host", "state", "time", "checkpoint", "why"), [_attempt_row(each) for each in attempts])


def _attempt_row(attempt: AttemptRecord) -> tuple[object, ...]:
    began = attempt.started_at or attempt.claimed_at
    spent = None if attempt.ended_at is None else show_duration(max(0.0, attempt.ended_at - began))
    state = attempt.outcome.value if attempt.outcome else attempt.state
    saved = None if attempt.checkpoint is None else show_size(attempt.checkpoint.size)
    return (attempt.n, attempt.host, state, spent, saved, attempt.reason)


def _print_job(view: JobView) -> None:
    print_table("", COLUMNS, [row(view, time.time())])
    if view.usage is not None:
        click.echo(f"used: {show_usage(view.usage)}")


def _print(snapshot: Snapshot) -> None:
    now, mode = time.time(), snapshot.mode
    click.echo(f"agent {snapshot.version} on {snapshot.host} (process {snapshot.pid})")
    click.echo(f"{mode.name}{because(mode.reason, mode.by)}, for {_time_since(mode.since, now)}")
    if mode.held is not None:
        click.echo(f"takes no new jobs for now: {mode.held}")
    waiting = [attempt for attempt in snapshot.attempts if attempt.waiting]
    if waiting:
        oldest = min(attempt.claimed_at for attempt in waiting)
        click.echo(f"{len(waiting)} result(s) wait to leave, the oldest of a job of {_time_since(oldest, now)} ago")
    click.echo(f"free {_share(snapshot.free)} of {_share(snapshot.share)}; lanes {', '.join(snapshot.lanes)}")
    totals = show_totals(snapshot.totals)
    if totals:
        click.echo(f"ended since the start: {totals}")
    for part, problem in snapshot.problems.items():
        click.echo(f"problem: {part}: {problem}")
    if snapshot.attempts:
        rows = [_attempt(attempt, now) for attempt in snapshot.attempts]
        print_table("\nhere now", ("job", "name", "state", "time", "note"), rows)
    if snapshot.ended:
        print_table(
            "\nended", ("job", "name", "outcome", "time", "why"), [_ended(each) for each in snapshot.ended[-10:]]
        )
    if snapshot.refused:
        rows = [(each.sid, each.name, each.standing, "; ".join(map(str, each.refusals))) for each in snapshot.refused]
        print_table("\nrefused", ("job", "name", "standing", "why"), rows)


def _time_since(since: float | None, now: float) -> str:
    return show_duration(None if since is None else max(0.0, now - since))


def _share(share: Share) -> str:
    return f"{share.cpus:g} CPUs, {show_size(share.memory)} memory, {show_size(share.disk)} disk"


def _attempt(attempt: AttemptView, now: float) -> tuple[object, ...]:
    note = attempt.waiting or (f"stopping: {attempt.stop}" if attempt.stop else attempt.trouble or "")
    spent = show_duration(max(0.0, now - (attempt.started_at or attempt.claimed_at)))
    step = f" ({attempt.step})" if attempt.step else ""
    return (attempt.sid, attempt.name, attempt.state.value + step, spent, note)


def _ended(attempt: AttemptView) -> tuple[object, ...]:
    spent = (attempt.ended_at or attempt.claimed_at) - (attempt.started_at or attempt.claimed_at)
    outcome = attempt.outcome.value if attempt.outcome else attempt.state.value
    return (attempt.sid, attempt.name, outcome, show_duration(max(0.0, spent)), attempt.reason or "")
