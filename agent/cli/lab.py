"""`edge-agent lab`: the servers of a lab without internet, on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import lab as labs
from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.errors import NotFound
from agent.lab.accounts import ACCOUNTS, BUCKET, CHECKS, store_policy
from agent.lab.certificates import valid_until
from agent.lab.units import units as unit_texts

_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="The lab's directory."
)
_PORT = click.IntRange(1, 65535)


@click.group()
def lab() -> None:
    """Bring up MinIO and Mosquitto with a store queue on them: encrypted, with generated credentials."""


class _Where(NamedTuple):
    """What may be said of where the servers listen; what is not said stays as it was."""

    address: str | None
    names: tuple[str, ...]
    minio_port: int | None
    mqtt_port: int | None


def _where(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of where the servers listen; the command gets them as one `where`."""

    @wraps(command)
    def called(*args: Any, **options: Any) -> None:
        where = _Where(**{name: options.pop(name) for name in _Where._fields})
        command(*args, where=where, **options)

    options = [
        click.option("--address", help="Listen here, as before or on 127.0.0.1; boards need one that they reach."),
        click.option(
            "--name", "names", multiple=True, help="Another name or address of this machine; boards use the first one."
        ),
        click.option("--minio-port", type=_PORT, help="As before, or 9000."),
        click.option("--mqtt-port", type=_PORT, help="As before, or 8883."),
    ]
    return reduce(lambda made, option: option(made), reversed(options), called)


@lab.command()
@_directory
@_where
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def up(ctx: click.Context, directory: Path | None, where: _Where, as_json: bool) -> None:
    """Start what does not run yet, make the queue, and write the configuration for the agents."""
    place = _place(ctx, directory)
    settings = _settings(place, where)
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


@lab.command()
@_directory
@_where
@click.pass_context
def files(ctx: click.Context, directory: Path | None, where: _Where) -> None:
    """Write credentials, certificates and configuration for servers that systemd starts, and start nothing."""
    place = _place(ctx, directory)
    labs.prepare(place, _settings(place, where))
    click.echo(f"written in {place}; when the servers run: edge-agent lab accounts --dir {place}")


@lab.command()
@_directory
@click.pass_context
def accounts(ctx: click.Context, directory: Path | None) -> None:
    """Make bucket, rules and accounts on a store that systemd started."""
    place = _place(ctx, directory)
    labs.finish(place, _found(place).settings, set_up)
    click.echo(f"accounts: {', '.join(account.user for account in ACCOUNTS)}")


@lab.command()
@click.argument("target", type=click.Path(path_type=Path, file_okay=False, exists=True))
def units(target: Path) -> None:
    """Write the units of systemd for both servers into the directory TARGET."""
    for name, text in unit_texts().items():
        (target / name).write_text(text, encoding="utf-8")
        click.echo(target / name)


def set_up(store: labs.Store) -> None:
    """Make bucket, rules and accounts of the lab. Raises StoreUnavailable."""
    from agent.adapters.s3.admin import User
    from agent.adapters.s3.admin import set_up as set_up_store

    users = [User(each.user, store.secrets[each.kind], store_policy(each)) for each in ACCOUNTS]
    set_up_store(store.section, BUCKET, users, CHECKS)


def _place(ctx: click.Context, directory: Path | None) -> Path:
    return (directory or config_from(ctx).config.state_dir / "lab").absolute()


def _status(place: Path) -> dict[str, Any]:
    found = _found(place)
    until = valid_until(place)
    return {"running": labs.status(found), "certified_until": None if until is None else f"{until:%Y-%m-%d}"}


def _found(place: Path) -> labs.Lab:
    found = labs.load(place)
    if found is None:
        raise NotFound(f"no lab was brought up in {place}; `edge-agent lab up` does")
    return found


def _settings(place: Path, where: _Where) -> labs.Settings:
    """Return what is said, and else what was before."""
    found = labs.load(place)
    before = labs.Settings() if found is None else found.settings
    return labs.Settings(
        where.address or before.address,
        where.minio_port or before.minio_port,
        where.mqtt_port or before.mqtt_port,
        where.names or before.names,
    )
