"""`edge-agent pause`, `drain` and `resume`: whether this host's agent takes new jobs."""

from __future__ import annotations

import threading

import click

from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.control.client import ask
from agent.control.protocol import Command, Drain, Pause, Resume, Snapshot, Status


@click.command()
@click.option("--note", metavar="TEXT", help="Why, for those who look at the status.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def pause(ctx: click.Context, note: str | None, as_json: bool) -> None:
    """Take no new jobs until `resume`, also over a restart; running ones go on."""
    _say(_ask(ctx, Pause(note)), as_json)


@click.command()
@click.option("--note", metavar="TEXT", help="Why, for those who look at the status.")
@click.option("--wait", is_flag=True, help="Return when the last job has ended and its results are delivered.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drain(ctx: click.Context, note: str | None, wait: bool, as_json: bool) -> None:
    """Take no new jobs until `resume`, to make the host free for maintenance."""
    snapshot = _ask(ctx, Drain(note))
    while wait and snapshot.attempts:
        threading.Event().wait(1.0)
        snapshot = _ask(ctx, Status())
    _say(snapshot, as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def resume(ctx: click.Context, as_json: bool) -> None:
    """Take jobs again."""
    _say(_ask(ctx, Resume()), as_json)


def _ask(ctx: click.Context, command: Command) -> Snapshot:
    return ask(config_from(ctx).config.state_dir, command)


def _say(snapshot: Snapshot, as_json: bool) -> None:
    if as_json:
        print_json({"mode": snapshot.mode, "jobs": [attempt.sid for attempt in snapshot.attempts]})
    else:
        click.echo(f"{snapshot.mode.name}; {len(snapshot.attempts)} job(s) here")
