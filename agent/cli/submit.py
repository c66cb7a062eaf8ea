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
from agent.config import Config
from agent.errors import InvalidInput, JobError
from agent.signing import Signature, load_private
from agent.wire import read_job_file


@click.command()
@click.argument("job", metavar="JOB.toml|-")
@click.option("--queue", metavar="NAME", help="The queue, where several are configured.")
@click.option(
    "--sign",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEYFILE",
    help="Sign it with this Ed25519 key (OpenSSH or PEM) instead of submit.sign_key_file.",
)
@click.option("--signer", metavar="NAME", help="What hosts call the key. Not set: its fingerprint.")
@click.option("--id", "sid", metavar="ID", help="Under this id; again for the same job, it completes what was cut.")
@click.option("--wait", is_flag=True, help="Follow the job to its end; exit code 1 unless it succeeds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def submit(
    ctx: click.Context,
    job: str,
    queue: str | None,
    sign: Path | None,
    signer: str | None,
    sid: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Put the job described in JOB.toml (- is standard input) into a queue and print its id."""
    config = config_from(ctx).config
    submitted = client(config, default_queue(config, queue))
    sid = submitted.submit(read_job_file(*read_text(job)), user(), _signature(config, sign, signer), sid)
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


def _signature(config: Config, file: Path | None, signer: str | None) -> Signature | None:
    """Return what signs the job, None where it travels unsigned. Raises InvalidInput."""
    named = config.submit.sign_key_file
    if file is None and named is None:
        if signer is not None:
            raise InvalidInput(f'--signer "{signer}" without a key', hint="add --sign KEYFILE")
        return None
    path = file or Path(named or "")
    try:
        return load_private(path.read_bytes(), signer or config.submit.signer)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", hint="the file of the key to sign with") from None
    except InvalidInput as error:
        raise error.from_source(str(path)) from None


def user() -> str | None:
    """Return who runs the command, None where that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
