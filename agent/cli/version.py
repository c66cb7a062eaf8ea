"""`edge-agent version`."""

from __future__ import annotations

import platform
import shutil

import click

from agent import __version__
from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.errors import ConfigError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def version(ctx: click.Context, as_json: bool) -> None:
    """Show versions of everything that matters: agent, Python, platform, container runtime."""
    facts = {
        "agent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "runtime": _runtime(ctx),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("", ("part", "version"), facts.items())


def _runtime(ctx: click.Context) -> str | None:
    """Return the runtime's path. A broken configuration does not keep anybody from asking for versions."""
    try:
        configured = config_from(ctx).config.runtime.path
    except ConfigError as error:
        click.echo(f"edge-agent: {error}", err=True)
        configured = None
    return configured or shutil.which("apptainer") or shutil.which("singularity")
