"""`edge-agent queue init`: what a queue consists of, made where it is missing."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.config import Config, Queue
from agent.errors import InvalidInput, nearest
from agent.pubsub_plan import (
    LANES,
    Plan,
    accounts_as_gcloud,
    accounts_as_terraform,
    as_gcloud,
    as_terraform,
    is_pubsub,
    place_of,
    plan,
)
from agent.wiring import Stores

PRINTERS = {
    "gcloud": as_gcloud,
    "gcloud-accounts": accounts_as_gcloud,
    "terraform": as_terraform,
    "terraform-accounts": accounts_as_terraform,
}


@click.group()
def queue() -> None:
    """Make the stores of a queue."""


@queue.command()
@click.argument("name", required=False)
@click.option("--lanes", metavar="LANE,LANE", help="Only these lanes, where a queue has a subscription a lane.")
@click.option(
    "--print",
    "printed",
    type=click.Choice(sorted(PRINTERS)),
    help="Make nothing; print how to make a Pub/Sub queue, or accounts with the least rights on it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def init(ctx: click.Context, name: str | None, lanes: str | None, printed: str | None, as_json: bool) -> None:
    """Make what the queue NAME, or each configured queue, consists of, where it is not there yet.

    Nothing that is there is changed. Exit code 1 when something is there and is not as it should be.
    """
    config = config_from(ctx).config
    queues = config.queues if name is None else (config.queue(name),)
    wanted = _lanes(lanes)
    if printed is not None:
        click.echo("\n".join(PRINTERS[printed](_plan(each, wanted)) for each in queues), nl=False)
        return
    made = [_made(config, each, wanted) for each in queues]
    print_json(made) if as_json else _show(made)
    ctx.exit(any(part["state"] == "differs" for row in made for part in row.get("parts", ())))


def _lanes(text: str | None) -> tuple[str, ...]:
    lanes = LANES if text is None else tuple(lane.strip() for lane in text.split(",") if lane.strip())
    for lane in lanes:
        if lane not in LANES:
            raise InvalidInput(f'--lanes: there is no lane "{lane}"', hint=nearest(lane, LANES))
    return lanes


def _plan(queue: Queue, lanes: tuple[str, ...]) -> Plan:
    if not is_pubsub(queue.url):
        raise InvalidInput(f'queue "{queue.name}" is not on Pub/Sub', hint="name one whose url begins with pubsub://")
    return plan(place_of(queue.url), lanes)


def _made(config: Config, queue: Queue, lanes: tuple[str, ...]) -> dict[str, Any]:
    stores = Stores(config)
    stores.make(queue)
    admin = stores.admin(queue, lanes)
    if admin is None:
        return {"queue": queue.name, "records": str(queue.records_root), "results": str(queue.results_root)}
    parts = [msgspec.to_builtins(part) for part in admin.init()]
    return {"queue": queue.name, "results": str(queue.results_root), "parts": parts}


def _show(made: list[dict[str, Any]]) -> None:
    for row in made:
        jobs = f"jobs in {row['records']}, " if "records" in row else ""
        click.echo(f"{row['queue']}: {jobs}results in {row['results']}")
        for part in row.get("parts", ()):
            click.echo(f"  {part['kind']} {part['name']}: {part['state']}")
            for problem in part["problems"]:
                click.echo(f"    {problem}")
