"""`edge-agent logs JOB`: what a job printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from agent.cli.context import config_from
from agent.cli.follow import follow, live_log
from agent.cli.stores import find_job
from agent.config import Config
from agent.errors import AgentUnreachable, NotFound


@click.command()
@click.argument("job")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job ends.")
@click.option("--queue", metavar="NAME", help="Look in this queue only.")
@click.pass_context
def logs(ctx: click.Context, job: str, following: bool, queue: str | None) -> None:
    """Print what JOB (id, beginning of an id, or name) wrote to standard output and error."""
    config = config_from(ctx).config
    client, view = find_job(config, job, queue)
    if following and not view.is_over:
        follow(config, client, view.sid, show_log=True)
    elif view.is_over or not _is_here(config, view.sid):
        _write(client.log(view.sid))


def _is_here(config: Config, sid: str) -> bool:
    """Write what the job has printed so far if it runs under this host's agent; say whether there was anything."""
    try:
        return _write(live_log(config, sid, 0))
    except (AgentUnreachable, NotFound):
        return False


def _write(pieces: Iterable[bytes]) -> bool:
    """Write all pieces; say whether there were any."""
    any_piece = False
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        any_piece = True
    return any_piece
