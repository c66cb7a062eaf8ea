"""`edge-agent decode FILE|-`: what becomes of a message, for support and for tests."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from agent import wire
from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.config import Config
from agent.config.load import flat
from agent.pubsub_plan import is_project, is_pubsub, place_of
from agent.redact import mask_data, mask_text
from agent.studioml.reading import ANYWHERE, Reading


@click.command()
@click.argument("message", type=click.File("rb"), metavar="FILE|-")
@click.option("--queue", metavar="NAME", help="Read it as a message of this configured queue.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def decode(ctx: click.Context, message: BinaryIO, queue: str | None, as_json: bool) -> None:
    """Show what becomes of the message in FILE (- is standard input): the job it is, or why it is none.

    With --queue it is read by the keys and rules of this host for that queue; without, signatures of native jobs are
    not judged. Secrets are masked. Exits with 0 for a job that would run, with 1 otherwise.
    """
    reading, keeps_dead = (ANYWHERE, None) if queue is None else reading_in(config_from(ctx).config, queue)
    answer = wire.describe(message.read(wire.MAX_BYTES + 1), {}, reading, keeps_dead)
    answer = {**answer, "reason": answer["reason"] and mask_text(answer["reason"]), "job": mask_data(answer["job"])}
    if as_json:
        print_json(answer)
    else:
        _print_for_people(answer)
    ctx.exit(0 if answer["disposition"] == "run" else 1)


def reading_in(config: Config, name: str) -> tuple[Reading, bool]:
    """Return how messages of the queue are read, and whether it keeps dead letters."""
    from agent.wiring.studioml import keys_of, reading_of

    url, senders_name, keeps_dead = config.queue(name).url, name, True
    if is_project(url):
        senders_name, keeps_dead = "", False
    elif is_pubsub(url):
        place = place_of(url)
        senders_name, keeps_dead = place.queue, not place.plain
    return reading_of(config, keys_of(config), senders_name, name), keeps_dead


def _print_for_people(answer: dict[str, Any]) -> None:
    if answer["job"] is None:
        click.echo(f"{answer['disposition']}: {answer['reason']}")
        return
    title = f"{answer['disposition']}: a {answer['form']} job"
    print_table(title + _signed(answer.get("signer")), ("key", "value"), flat(answer["job"]))


def _signed(signer: dict[str, Any] | None) -> str:
    if signer is None:
        return ""
    return f", signed by {signer['name']}" + ("" if signer["verified"] else " (not verified: name a --queue)")
