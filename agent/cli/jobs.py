"""`edge-agent jobs`: all jobs of the queues."""

from __future__ import annotations

import time

import click
import msgspec

from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.cli.stores import clients
from agent.client import JobView
from agent.model.units import show_duration

UNMATCHED = ("job", "name", "waits", "hosts", "nearest", "what it lacks")
COLUMNS = ("job", "name", "state", "tries", "host", "time", "why")


@click.command()
@click.option("--queue", metavar="NAME", help="Only this queue.")
@click.option("--all", "everything", is_flag=True, help="Also those that ended more than a day ago.")
@click.option("--unmatched", is_flag=True, help="Only waiting jobs that no host fits that has looked at them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def jobs(ctx: click.Context, queue: str | None, everything: bool, unmatched: bool, as_json: bool) -> None:
    """List jobs, oldest first: waiting ones with the reasons why hosts refuse them, running and ended ones."""
    now = time.time()
    views = [view for each in clients(config_from(ctx).config, queue) for view in each.jobs()]
    if unmatched:
        _show_unmatched([view for view in views if view.nearest_miss], now, as_json)
        return
    shown = [view for view in views if everything or not view.ended_at or now - view.ended_at < 86400]
    if as_json:
        print_json(shown)
    else:
        print_table("", COLUMNS, [row(view, now) for view in shown])


def _show_unmatched(views: list[JobView], now: float, as_json: bool) -> None:
    if as_json:
        print_json([{**msgspec.to_builtins(view), "nearest_miss": view.nearest_miss} for view in views])
    else:
        print_table("", UNMATCHED, [_unmatched_row(view, now) for view in views])


def _unmatched_row(view: JobView, now: float) -> tuple[object, ...]:
    miss = view.nearest_miss
    lacks = "; ".join(map(str, miss.refusals)) if miss else ""
    waited = show_duration(max(0.0, now - view.submitted_at))
    return (view.sid, view.name, waited, len(view.refusals), miss and miss.host, lacks)


def row(view: JobView, now: float) -> tuple[object, ...]:
    """Return the line of the table for one job; the time is how long it ran, or has waited."""
    end = view.ended_at or now
    spent = end - (view.started_at or view.submitted_at)
    return (view.sid, view.name, view.state, view.attempts, view.host, show_duration(max(0.0, spent)), why(view))


def why(view: JobView) -> str:
    """Return what there is to say about a job: its reason, or what hosts miss."""
    if view.reason or view.is_over or not view.refusals:
        return view.reason or ""
    return "; ".join(f"{each.host}: {refusal}" for each in view.refusals for refusal in each.refusals)
