"""`edge-agent results JOB`: what a job left."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.cli.stores import find_job
from agent.client import Client
from agent.errors import InvalidInput
from agent.model.units import show_size


@click.command()
@click.argument("job")
@click.option("--to", "target", type=click.Path(path_type=Path, file_okay=False), help="Fetch it into this directory.")
@click.option("--queue", metavar="NAME", help="Look in this queue only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def results(ctx: click.Context, job: str, target: Path | None, queue: str | None, as_json: bool) -> None:
    """List what JOB left, or fetch it with --to. Exit code 1 when there is nothing yet."""
    client, view = find_job(config_from(ctx).config, job, queue)
    if target is not None:
        paths = _fetch(client, view.sid, target)
        print_json({"sid": view.sid, "state": view.state, "paths": paths}) if as_json else click.echo("\n".join(paths))
        return
    if as_json:
        print_json(view)
    else:
        rows = [(each.name, each.kind, show_size(each.size), each.uri or "") for each in view.artifacts]
        print_table(f"{view.sid}  {view.state}", ("name", "kind", "size", "published to"), rows)
    ctx.exit(0 if view.artifacts else 1)


def _fetch(client: Client, sid: str, target: Path) -> list[str]:
    try:
        return [str(path) for path in client.fetch(sid, target)]
    except OSError as error:
        place = error.filename or target
        raise InvalidInput(f"{place}: {error.strerror}", hint="choose another directory with --to") from None
