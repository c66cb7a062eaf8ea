"""`edge-agent queue init`: the stores of a queue."""

from __future__ import annotations

import click

from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.wiring import Stores


@click.group()
def queue() -> None:
    """Make the stores of a queue."""


@queue.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def init(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Make the stores of the queue NAME, or of all configured queues, where they are not there yet."""
    config = config_from(ctx).config
    queues = config.queues if name is None else (config.queue(name),)
    stores = Stores(config)
    for each in queues:
        stores.make(each)
    made = [
        {"queue": each.name, "records": str(each.records_root), "results": str(each.results_root)} for each in queues
    ]
    if as_json:
        print_json(made)
    else:
        for row in made:
            click.echo(f"{row['queue']}: jobs in {row['records']}, results in {row['results']}")
