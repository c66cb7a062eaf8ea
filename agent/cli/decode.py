"""`edge-agent decode FILE|-`: what becomes of a message, for support and for tests."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from agent import wire
from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.config.load import flat
from agent.redact import mask_data


@click.command()
@click.argument("message", type=click.File("rb"), metavar="FILE|-")
@click.option("--queue", metavar="NAME", help="Read it as a message of this configured queue.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def decode(ctx: click.Context, message: BinaryIO, queue: str | None, as_json: bool) -> None:
    """Show what becomes of the message in FILE (- is standard input): the job it is, or why it is none.

    Exits with 0 for a job that would run, with 1 otherwise.
    """
    if queue is not None:
        config_from(ctx).config.queue(queue)
    answer = wire.describe(message.read(wire.MAX_BYTES + 1), {})
    if as_json:
        print_json(answer)
    else:
        _print_for_people(answer)
    ctx.exit(0 if answer["disposition"] == "run" else 1)


def _print_for_people(answer: dict[str, Any]) -> None:
    if answer["job"] is None:
        click.echo(f"{answer['disposition']}: {answer['reason']}")
        return
    print_table(f"{answer['disposition']}: a {answer['form']} job", ("key", "value"), flat(mask_data(answer["job"])))
