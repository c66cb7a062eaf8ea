"""`edge-agent probe`: what this host is and has, or what a recorded one was."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from agent import wiring
from agent.adapters.host import RecordedHost
from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.config import Config
from agent.model.capabilities import Capabilities, Gpu, Problem
from agent.model.units import show_size
from agent.probes import probe_host, reasons

_WIDTH = 90  # characters of a value in one line


@click.command()
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Read the recorded host in DIR instead of this one.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write what is read of this host into DIR, without what names it: for a bug report, or for --root.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: edge-agent/capabilities/v1.")
@click.pass_context
def probe(ctx: click.Context, root: Path | None, record: Path | None, as_json: bool) -> None:
    """Show what this host is and has, and what is wrong with it."""
    profile = _profile(ctx, root, record)
    if as_json:
        print_json(profile.table())
    else:
        _print_for_people(profile)


def _profile(ctx: click.Context, root: Path | None, record: Path | None) -> Capabilities:
    if root is not None and record is not None:
        raise click.UsageError("--record records this host, --root reads another one: give one of them")
    if root is not None:
        return probe_host(RecordedHost(root))
    config = config_from(ctx).config
    return wiring.probe(config) if record is None else _recorded(config, record)


def _recorded(config: Config, directory: Path) -> Capabilities:
    profile, count = wiring.record(config, directory)
    if sys.stderr.isatty():
        click.echo(f"recorded in {directory}: {count} files, without serial numbers, addresses and names", err=True)
    return profile


def _print_for_people(profile: Capabilities) -> None:
    table = profile.table()
    del table["problems"]
    print_table("", ("key", "value"), [row for key, value in _rows(table) for row in _lines(key, _shown(key, value))])
    for problem in (*profile.problems, *_of_gpus(profile.gpus or ())):
        click.echo(f"\n{problem.probe}: {problem.message}")
        if problem.remedy:
            click.echo(f"  remedy: {problem.remedy}")


def _of_gpus(gpus: Iterable[Gpu]) -> Iterator[Problem]:
    """Yield what is wrong with GPUs; that those of other vendors are only listed is nothing wrong."""
    for gpu in gpus:
        if gpu.reason not in (None, reasons.NOT_SCHEDULABLE):
            name = " ".join(filter(None, (gpu.name or gpu.vendor, gpu.pci)))
            yield Problem("gpu", f"{name} cannot be used: {gpu.reason}", gpu.remedy)


def _lines(key: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of a value; a long one goes on in the rows below."""
    first, *others = textwrap.wrap(text, _WIDTH, break_long_words=False) or [""]
    yield key, first
    yield from (("", line) for line in others)


def _rows(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything that is known; what is unknown only says so for whole parts."""
    if not isinstance(value, dict):
        yield path, value
        return
    known = {key: part for key, part in value.items() if part is not None}
    if not known and path:
        yield path, None if value else ()
    for key, part in known.items():
        yield from _rows(part, f"{path}.{key}" if path else key)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if key.endswith("_bytes"):
        return show_size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return "; ".join(map(_device, value))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _device(device: dict[str, Any]) -> str:
    """Return a GPU or another accelerator in a few words; what is wrong with it is among them."""
    name = device.get("name") or device.get("pci") or device.get("path") or "unknown"
    memory = device.get("memory_bytes")
    wrong = device.get("reason")
    return f"{name}" + (f", {show_size(memory)}" if memory else "") + (f" ({wrong})" if wrong else "")
