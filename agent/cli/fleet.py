"""`edge-agent fleet`: the hosts that tell the broker about themselves."""

from __future__ import annotations

import click

from agent import wiring
from agent.cli.context import config_from
from agent.cli.output import because, print_json, print_table
from agent.fleet.registry import HostView, fold
from agent.model.capabilities import Capabilities
from agent.model.units import show_duration, show_size

COLUMNS = ("id", "state", "arch", "cpus", "memory", "gpus", "jobs", "version", "last seen")


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0.1, max=3600.0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def fleet(ctx: click.Context, wait: float, as_json: bool) -> None:
    """List the hosts seen on the broker: what they are and what they are doing."""
    view = fold(wiring.advert_source(config_from(ctx).config).adverts(wait))
    if as_json:
        print_json(view)
        return
    print_table("", COLUMNS, [_row(host) for host in view.hosts])
    for host in view.hosts:
        for problem in host.problems:
            click.echo(f"problem: {host.id}: {problem}")


def _row(host: HostView) -> tuple[object, ...]:
    profile = host.capabilities or Capabilities()
    memory = profile.memory.effective_bytes
    cpus = profile.cpu.effective
    usable = None if profile.gpus is None else sum(bool(gpu.usable) for gpu in profile.gpus)
    return (
        host.id,
        f"{host.state}{' (stale)' if host.stale else ''}{because(host.reason, host.by)}",
        profile.cpu.arch,
        None if cpus is None else f"{cpus:g}",
        None if memory is None else show_size(memory),
        usable,
        len(host.jobs),
        host.version,
        None if host.age is None else f"{show_duration(host.age)} ago",
    )
