"""`edge-agent prune`: retention of results."""

from __future__ import annotations

import click

from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.cli.progress import ProgressLine
from agent.cli.stores import default_queue
from agent.config import Queue
from agent.errors import InvalidInput
from agent.model.units import parse_duration, show_duration, show_size
from agent.pruning import Overdue, overdue, remove
from agent.pubsub_plan import RETENTION_DAYS, is_pubsub
from agent.wiring import Stores

DAY = 86400.0
COLUMNS = ("job", "state", "over for", "result")


@click.command()
@click.option("--older-than", metavar="TIME", required=True, help='What has been over for longer, such as "90d".')
@click.option("--queue", metavar="NAME", help="The queue, where several are configured.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, list what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def prune(ctx: click.Context, older_than: str, queue: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove jobs with all they left from the results store of a queue, and list them.

    Only those go that have had their result for longer than TIME by the store's clock and are off their queue. What was
    published elsewhere stays there.
    """
    config = config_from(ctx).config
    chosen = default_queue(config, queue)
    # A results store may be that of several queues: none of them may still have the job.
    sharing = [each for each in config.queues if each.results_root == chosen.results_root]
    age = max(_age(each, older_than) for each in sharing)
    stores, line = Stores(config), ProgressLine()
    results, clearing = stores.results(chosen), stores.clearing(chosen)
    queued = frozenset(waiting.sid for each in sharing for waiting in stores.submitter(each).waiting())
    found: list[Overdue] = []
    for each in overdue(results, queued, age):
        line.show(f"{len(found) + 1} found, {each.sid}" if dry_run else f"{len(found) + 1} removed, {each.sid}")
        if not dry_run:
            remove(results, clearing, each.sid)
        found.append(each)
    line.clear()
    if as_json:
        print_json({"queue": chosen.name, "removed": not dry_run, "jobs": found})
        return
    rows = [(each.sid, each.state, show_duration(each.age), show_size(each.size)) for each in found]
    print_table("would be removed" if dry_run else "removed", COLUMNS, rows)


def _age(queue: Queue, text: str) -> float:
    """Return the seconds. Raises InvalidInput for a time within which a message of the queue may come again."""
    try:
        age = parse_duration(text)
    except InvalidInput as error:
        raise error.from_source("--older-than") from None
    least = (RETENTION_DAYS + 1) * DAY if is_pubsub(queue.url) else 0.0
    if age < least:
        raise InvalidInput(
            f'--older-than "{text}" for queue "{queue.name}": Pub/Sub keeps messages for {RETENTION_DAYS} days, '
            "and one whose result is gone would run again",
            hint=f"at least {RETENTION_DAYS + 1}d",
        )
    return age
