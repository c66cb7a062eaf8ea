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
    found = facts(_configured(ctx))
    if as_json:
        print_json(found)
    else:
        print_table("", ("part", "version"), found.items())


def facts(configured: str | None) -> dict[str, str | None]:
    """Return the versions. configured: the runtime's path, None = the first one on PATH."""
    return {
        "agent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "runtime": configured or shutil.which("apptainer") or shutil.which("singularity"),
    }


def _configured(ctx: click.Context) -> str | None:
    """Return the runtime's path. A broken configuration does not keep anybody from asking for versions."""
    try:
        return config_from(ctx).config.runtime.path
    except ConfigError as error:
        click.echo(f"edge-agent: {error}", err=True)
        return None
