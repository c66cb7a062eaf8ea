"""`edge-agent cancel JOB`: the end of a job, wherever it is."""

from __future__ import annotations

import contextlib

import click

from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.cli.stores import find_job
from agent.control.client import ask
from agent.control.protocol import Cancel
from agent.errors import AgentUnreachable, NotFound


@click.command()
@click.argument("job")
@click.option("--queue", metavar="NAME", help="Look in this queue only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def cancel(ctx: click.Context, job: str, queue: str | None, as_json: bool) -> None:
    """End JOB: a waiting one never starts, a running one is stopped and what it made is saved."""
    config = config_from(ctx).config
    client, view = find_job(config, job, queue)
    client.cancel(view.sid)
    # Where the job runs under this host's agent it need not wait for the next renewal of its lease.
    with contextlib.suppress(AgentUnreachable, NotFound):
        ask(config.state_dir, Cancel(view.sid))
    told = "is cancelled" if view.state == "waiting" else "will end"
    print_json({"sid": view.sid, "cancelled": True}) if as_json else click.echo(f"{view.sid} {told}")
