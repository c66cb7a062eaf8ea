"""`edge-agent config check` and `edge-agent config show`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.config import Config
from agent.config.credentials import credential_path
from agent.config.load import holds_secret, settings
from agent.config.metrics import is_loopback
from agent.config.places import Bucket
from agent.config.sections import ALL_GPUS, NO_GPUS
from agent.config.sources import units
from agent.errors import ConfigError
from agent.model.capabilities import Gpu
from agent.model.units import show_duration, show_size
from agent.pubsub_plan import has_lanes, is_pubsub
from agent.redact import MASK, mask_data, mask_text

# Returns the GPUs of a host, None where they cannot be looked at.
Look = Callable[[Config], tuple[Gpu, ...] | None]
_INDEX = re.compile(r"\[\d+\]")


@click.group()
def config() -> None:
    """Check or show the configuration: files, EDGE_AGENT_* variables and flags together."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Check the configuration: exit code 0 when it can be used, 2 when not. Warns of what will not work."""
    try:
        loaded = config_from(ctx)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "error": mask_text(str(error)), "warnings": []})
        ctx.exit(error.exit_code)
    found = list(warnings(loaded.config))
    if as_json:
        print_json({"ok": True, "error": None, "warnings": found})
        return
    for warning in found:
        click.echo(f"edge-agent: warning: {warning}", err=True)
    click.echo("ok")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show every key with its value and where it comes from; secrets are masked."""
    loaded = config_from(ctx)
    rows = [(key, masked(key, value), loaded.origins[key]) for key, value in settings(loaded.config)]
    if as_json:
        print_json({key: {"value": value, "origin": origin} for key, value, origin in rows})
    else:
        kinds = units()
        cells = [(key, _shown(value, kinds.get(_INDEX.sub("", key))), origin) for key, value, origin in rows]
        print_table("", ("key", "value", "from"), cells)


def masked(key: str, value: Any) -> Any:
    """Return the value of a dotted key without secrets."""
    return MASK if value is not None and holds_secret(key) else mask_data(value)


def _shown(value: Any, unit: str | None) -> Any:
    if unit is not None and value is not None:
        return show_size(value) if unit == "size" else show_duration(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == {} else value


def warnings(config: Config, gpus: Look | None = None) -> Iterator[str]:
    """Yield what is valid and yet will not work for the user who asks; gpus: looks at the GPUs, if they matter."""
    yield from _unwritable("agent.state_dir", config.state_dir)
    for index, queue in enumerate(config.queues):
        if not is_pubsub(queue.url):
            yield from _unwritable(f"queues[{index}]", queue.records_root)
        yield from _unwritable(f"queues[{index}]", queue.results_root)
        alone = config.alone(queue)
        if alone is not None:
            yield f"queues[{index}].results: {alone}"
    yield from _without_artifacts(config)
    if config.runtime.path is not None and not os.access(config.runtime.path, os.X_OK):
        yield f'runtime.path = "{config.runtime.path}" is no program that this user may run'
    for key in ("password_file", "ca_file", "cert_file", "key_file"):
        file = getattr(config.mqtt, key)
        if file is not None and not os.access(file, os.R_OK):
            yield f'mqtt.{key}: the file "{file}" cannot be read by this user'
    yield from _open_metrics(config)
    yield from _missing_gpus(config, gpus or _gpus_here)
    yield from _missing_keys(config)
    yield from _missing_secrets(config)
    yield from _unusable_policy(config)


def _gpus_here(config: Config) -> tuple[Gpu, ...] | None:
    """Return the GPUs of this host, None where they cannot be looked at."""
    from agent import wiring
    from agent.probes import look_at_gpus

    seen = look_at_gpus(wiring.live_host(config))
    return None if seen is None else seen.gpus


def _missing_gpus(config: Config, look: Look) -> Iterator[str]:
    wanted = config.resources.gpus
    if set(wanted) & {ALL_GPUS, NO_GPUS}:
        return
    seen = look(config)
    cards = None if seen is None else [gpu for gpu in seen if gpu.vendor == "nvidia"]
    if cards is None or any(gpu.uuid is None and not gpu.usable for gpu in cards):
        yield "resources.gpus: which GPUs this host has cannot be told now; `edge-agent doctor` says why"
        return
    known = {name for gpu in cards for name in (gpu.uuid, *gpu.units) if name is not None}
    for index, gpu in enumerate(wanted):
        if gpu not in known:
            here = ", ".join(sorted(known)) or "none"
            yield f'resources.gpus[{index}]: this host has no GPU "{gpu}"; it has {here}'


def _open_metrics(config: Config) -> Iterator[str]:
    listen = config.metrics.listen
    if listen is not None and not is_loopback(listen):
        yield f'metrics.listen = "{listen}": whoever reaches this address reads the metrics, without a password'


def _without_artifacts(config: Config) -> Iterator[str]:
    """Clients name servers of their own: who comes from StudioML has no line for them in his configuration yet."""
    theirs = [queue.name for queue in config.queues if is_pubsub(queue.url) and not has_lanes(queue.url)]
    if theirs and not config.policy.brought_prefixes:
        queues = ", ".join(theirs)
        yield f"policy.brought_prefixes is empty: artifacts that StudioML clients name are refused on {queues}"


def _missing_keys(config: Config) -> Iterator[str]:
    keys = config.images.keys_dir
    if config.images.signatures == "off" or keys is None:
        return
    if not os.access(keys, os.R_OK | os.X_OK):
        yield f'images.keys_dir: the directory "{keys}" cannot be read by this user'
    elif not any(path.suffix in (".pem", ".asc") for path in Path(keys).iterdir()):
        yield f'images.keys_dir: the directory "{keys}" has no keys, NAME.pem or NAME.asc'


def _missing_secrets(config: Config) -> Iterator[str]:
    for name, secret in config.policy.secrets.items():
        if secret.file is not None and not os.access(secret.file, os.R_OK):
            yield f'policy.secrets.{name}: the file "{secret.file}" cannot be read by this user'
        if secret.credential is not None:
            file = credential_path(secret.credential, os.environ)
            if not os.access(file, os.R_OK):
                yield f'policy.secrets.{name}: the credential "{file}" cannot be read by this user'
        if secret.env is not None and secret.env not in os.environ:
            yield f'policy.secrets.{name}: the variable "{secret.env}" is not set here'


def _unusable_policy(config: Config) -> Iterator[str]:
    """What is refused whatever comes."""
    policy = config.policy
    if policy.require_signed and not policy.signers:
        yield "policy.require_signed is true and policy.signers is empty: every native job becomes a dead letter"
    if not policy.image_prefixes and not config.studioml.trusted and not policy.brought_prefixes:
        yield from _without_images(config.images_dir)
    for name, signer in policy.signers.items():
        if signer.file is not None and not os.access(signer.file, os.R_OK):
            yield f'policy.signers.{name}: the file "{signer.file}" cannot be read by this user'


def _without_images(directory: Path) -> Iterator[str]:
    """None are allowed but those in the agent's own directory."""
    if os.access(directory, os.R_OK) and any(directory.iterdir()):
        return
    allow = f'put images into "{directory}", or allow others: [policy] image_prefixes = ["file:///srv/images/"]'
    yield f"policy.image_prefixes is empty: an agent here refuses every job for its image; {allow}"


def _unwritable(key: str, directory: Path | Bucket) -> Iterator[str]:
    """A directory that is not there yet must be creatable in the nearest one that is."""
    if isinstance(directory, Bucket):
        return  # only the server knows
    there = next(each for each in (directory, *directory.parents) if each.exists())
    if not there.is_dir():
        yield f'{key}: "{there}" is not a directory'
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f'{key}: this user may not write in "{there}"'
