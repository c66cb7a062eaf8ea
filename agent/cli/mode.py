"""`edge-agent pause`, `drain` and `resume`: whether hosts take new jobs, this one or others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.cli.waiting import Deadline
from agent.cli.who import who
from agent.config import Config
from agent.control.client import ask
from agent.control.protocol import Command, Drain, Pause, Resume, Snapshot, Status
from agent.errors import InvalidInput
from agent.model.hosts import Wanted, Wish
from agent.model.units import parse_duration


class Target(NamedTuple):
    """Whom a command is for; neither hosts nor everybody: the agent of this host."""

    hosts: tuple[str, ...]
    everybody: bool
    queue: str | None

    @property
    def is_elsewhere(self) -> bool:
        """True when the results store carries the wish."""
        return bool(self.hosts) or self.everybody


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what the three commands have in common."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--queue", metavar="NAME", help="With --host or --all: by the results store of this queue only."),
        click.option("--all", "everybody", is_flag=True, help="All hosts that have used the results store."),
        click.option("--host", "hosts", metavar="ID", multiple=True, help="This host, from anywhere; may be repeated."),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--note", metavar="TEXT", help="Why, for those who look at the status.")
@_options
@click.pass_context
def pause(ctx: click.Context, /, note: str | None, as_json: bool, **target: Any) -> None:
    """Take no new jobs until `resume`, also over a restart; running ones go on."""
    _do(ctx, Target(**target), "paused", note, as_json)


@click.command()
@click.option("--note", metavar="TEXT", help="Why, for those who look at the status.")
@click.option("--wait", is_flag=True, help="Return when the last job has ended and its results are delivered.")
@click.option("--timeout", metavar="DURATION", help='Wait no longer than this ("20m"); exit code 1 when jobs are left.')
@_options
@click.pass_context
def drain(
    ctx: click.Context, /, note: str | None, wait: bool, timeout: str | None, as_json: bool, **target: Any
) -> None:
    """Take no new jobs until `resume`, to make the host free for maintenance."""
    if timeout is not None and not wait:
        raise InvalidInput("--timeout without --wait", hint="add --wait")
    deadline = Deadline(None if timeout is None else parse_duration(timeout)) if wait else None
    _do(ctx, Target(**target), "draining", note, as_json, deadline)


@click.command()
@_options
@click.pass_context
def resume(ctx: click.Context, /, as_json: bool, **target: Any) -> None:
    """Take jobs again."""
    _do(ctx, Target(**target), "ready", None, as_json)


def _do(
    ctx: click.Context, target: Target, want: Wanted, note: str | None, as_json: bool, deadline: Deadline | None = None
) -> None:
    """Want something of the hosts, wait for the end of their jobs when there is a deadline, say how it is."""
    config = config_from(ctx).config
    if target.is_elsewhere:
        from agent.cli.elsewhere import do_elsewhere

        wish = Wish(want, time.time(), who(), note)
        done = do_elsewhere(config, target.hosts, target.queue, wish, deadline, as_json)
    elif target.queue is not None:
        raise InvalidInput("--queue without --host or --all", hint="the agent of this host is asked directly")
    else:
        done = _do_here(config, _command(want, note), deadline, as_json)
    ctx.exit(0 if done else 1)


def _command(want: Wanted, note: str | None) -> Command:
    if want == "ready":
        return Resume(who())
    return Pause(note, who()) if want == "paused" else Drain(note, who())


def _do_here(config: Config, command: Command, deadline: Deadline | None, as_json: bool) -> bool:
    snapshot = ask(config.state_dir, command)
    while deadline is not None and snapshot.attempts and deadline.pause(1.0):
        snapshot = ask(config.state_dir, Status())
    _say(snapshot, as_json)
    return deadline is None or not snapshot.attempts


def _say(snapshot: Snapshot, as_json: bool) -> None:
    if as_json:
        print_json({"mode": snapshot.mode, "jobs": [attempt.sid for attempt in snapshot.attempts]})
    else:
        click.echo(f"{snapshot.mode.name}; {len(snapshot.attempts)} job(s) here")
