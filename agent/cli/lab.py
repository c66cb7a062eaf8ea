"""`edge-agent lab`: the servers of a lab without internet, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agent import lab as labs
from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.errors import NotFound
from agent.lab.accounts import ACCOUNTS, BUCKET, CHECKS, store_policy
from agent.lab.certificates import valid_until

_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="The lab's directory."
)
_PORT = click.IntRange(1, 65535)


@click.group()
def lab() -> None:
    """Bring up MinIO and Mosquitto with a store queue on them: encrypted, with generated credentials."""


@lab.command()
@_directory
@click.option("--address", help="Listen here, as before or on 127.0.0.1; boards need an address that they reach.")
@click.option(
    "--name", "names", multiple=True, help="A name or other address of this machine; boards use the first. Repeatable."
)
@click.option("--minio-port", type=_PORT, help="As before, or 9000.")
@click.option("--mqtt-port", type=_PORT, help="As before, or 8883.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def up(
    ctx: click.Context,
    directory: Path | None,
    address: str | None,
    names: tuple[str, ...],
    minio_port: int | None,
    mqtt_port: int | None,
    as_json: bool,
) -> None:
    """Start what does not run yet, make the queue, and write the configuration for the agents."""
    place = _place(ctx, directory)
    found = labs.load(place)
    before = labs.Settings() if found is None else found.settings
    settings = labs.Settings(
        address or before.address,
        minio_port or before.minio_port,
        mqtt_port or before.mqtt_port,
        names or before.names,
    )
    labs.up(place, settings, set_up)
    configs = {account.kind: str(place / account.config_name) for account in ACCOUNTS}
    if as_json:
        print_json({"directory": str(place), "configs": configs, **_status(place)})
        return
    click.echo(f"the lab runs at {settings.public}; each of these files is all that its user needs:")
    click.echo(f"run an agent:   edge-agent --config {configs['agent']} run")
    click.echo(f"submit a job:   edge-agent --config {configs['submit']} submit JOB.toml --wait")
    click.echo(f"see the hosts:  edge-agent --config {configs['operator']} fleet")


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
    found = _status(_place(ctx, directory))
    if as_json:
        print_json(found)
    else:
        for name, runs in found["running"].items():
            click.echo(f"{name:<10} {'runs' if runs else 'does not run'}")
        click.echo(f"{'certified':<10} until {found['certified_until'] or 'never'}")
    ctx.exit(0 if all(found["running"].values()) else 1)


def set_up(store: labs.Store) -> None:
    """Make bucket, rules and accounts of the lab. Raises StoreUnavailable."""
    from agent.adapters.s3.admin import User
    from agent.adapters.s3.admin import set_up as set_up_store

    users = [User(each.user, store.secrets[each.kind], store_policy(each)) for each in ACCOUNTS]
    set_up_store(store.section, BUCKET, users, CHECKS)


def _place(ctx: click.Context, directory: Path | None) -> Path:
    return (directory or config_from(ctx).config.state_dir / "lab").absolute()


def _status(place: Path) -> dict[str, Any]:
    found = labs.load(place)
    if found is None:
        raise NotFound(f"no lab was brought up in {place}; `edge-agent lab up` does")
    until = valid_until(place)
    return {"running": labs.status(found), "certified_until": None if until is None else f"{until:%Y-%m-%d}"}
