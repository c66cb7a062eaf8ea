"""`edge-agent lab`: the servers of a lab without internet, on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agent import lab as labs
from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.config import load_config
from agent.errors import NotFound
from agent.wiring import Stores

_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="The lab's directory."
)
_PORT = click.IntRange(1, 65535)


@click.group()
def lab() -> None:
    """Bring up MinIO and Mosquitto with a store queue on them, with generated credentials."""


@lab.command()
@_directory
@click.option("--address", help="Listen here, as before or on 127.0.0.1; boards need an address that they reach.")
@click.option("--minio-port", type=_PORT, help="As before, or 9000.")
@click.option("--mqtt-port", type=_PORT, help="As before, or 1883.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def up(
    ctx: click.Context,
    directory: Path | None,
    address: str | None,
    minio_port: int | None,
    mqtt_port: int | None,
    as_json: bool,
) -> None:
    """Start what does not run yet, make the queue, and write the configuration for the agents."""
    place = _place(ctx, directory)
    found = labs.load(place)
    before = labs.Settings() if found is None else found.settings
    wanted = (address or before.address, minio_port or before.minio_port, mqtt_port or before.mqtt_port)
    labs.up(place, labs.Settings(*wanted), make_queue)
    config = place / "config.toml"
    if as_json:
        print_json({"directory": str(place), "config": str(config), "running": _running(place)})
        return
    click.echo(f"the lab runs; its configuration is {config}")
    click.echo(f"run an agent:  edge-agent --config {config} run")
    click.echo(f"submit a job:  edge-agent --config {config} submit JOB.toml --wait")


@lab.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def down(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Stop the servers; jobs and results stay for the next `up`."""
    stopped = labs.down(_place(ctx, directory))
    print_json({"stopped": stopped}) if as_json else click.echo("stopped" if stopped else "nothing ran")


@lab.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Say which servers run; exit code 1 unless all do."""
    running = _running(_place(ctx, directory))
    if as_json:
        print_json(running)
    else:
        for name, runs in running.items():
            click.echo(f"{name:<10} {'runs' if runs else 'does not run'}")
    ctx.exit(0 if all(running.values()) else 1)


def make_queue(config_file: Path) -> None:
    """Make the stores that the lab's configuration names. Raises Unavailable."""
    config = load_config(config_file, os.environ, {}).config
    stores = Stores(config)
    for queue in config.queues:
        stores.make(queue)


def _place(ctx: click.Context, directory: Path | None) -> Path:
    return (directory or config_from(ctx).config.state_dir / "lab").absolute()


def _running(place: Path) -> dict[str, bool]:
    found = labs.load(place)
    if found is None:
        raise NotFound(f"no lab was brought up in {place}; `edge-agent lab up` does")
    return labs.status(found)
