"""`edge-agent submit JOB.toml`: a job into a queue."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from agent.cli.context import config_from
from agent.cli.follow import follow
from agent.cli.output import print_json
from agent.cli.stores import client, default_queue
from agent.errors import JobError
from agent.wire import read_job_file


@click.command()
@click.argument("job", metavar="JOB.toml|-")
@click.option("--queue", metavar="NAME", help="The queue, where several are configured.")
@click.option("--wait", is_flag=True, help="Follow the job to its end; exit code 1 unless it succeeds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def submit(ctx: click.Context, job: str, queue: str | None, wait: bool, as_json: bool) -> None:
    """Put the job described in JOB.toml (- is standard input) into a queue and print its id."""
    config = config_from(ctx).config
    submitted = client(config, default_queue(config, queue))
    sid = submitted.submit(read_job_file(*read_text(job)), by=_user())
    if not wait:
        print_json({"sid": sid, "queue": submitted.queue}) if as_json else click.echo(sid)
        return
    click.echo(sid, err=True)
    view = follow(config, submitted, sid, show_log=not as_json)
    if as_json:
        print_json(view)
    ctx.exit(0 if view.state == "succeeded" else 1)


def read_text(job: str) -> tuple[str, str]:
    """Return the text of a job file ("-" is standard input) and what to call it. Raises JobError."""
    try:
        return (sys.stdin.read(), "standard input") if job == "-" else (Path(job).read_text(encoding="utf-8"), job)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise JobError(f"job file cannot be read: {reason}", source=job) from None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
