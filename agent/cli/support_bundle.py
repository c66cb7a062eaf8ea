"""`edge-agent support-bundle`: everything that whoever helps from afar needs to see, in one file without secrets."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from agent import wiring
from agent.checks import examine
from agent.cli.config import masked
from agent.cli.context import config_from
from agent.cli.doctor import bench
from agent.cli.output import print_json, print_table
from agent.cli.version import facts
from agent.config import Config, Loaded
from agent.config.load import assemble, default_state_dir, holds_secret, settings
from agent.config.sources import flag_layer
from agent.control.client import ask
from agent.control.protocol import Status
from agent.errors import ConfigError, EdgeAgentError, HostFault
from agent.model.units import show_size
from agent.process import run
from agent.redact import is_secret_name, mask_text
from agent.supervisor.client import HOLDER_LOG
from agent.support import MEMBER_BYTES, Bundle

UNITS = ("edge-agent.service", "edge-jobs.service")
LOG_LINES, JOURNALCTL_SECONDS = 5000, 30.0


class _Ending(msgspec.Struct, frozen=True):
    """What of an attempt's end is told."""

    outcome: str | None = None
    exit_code: int | None = None
    ended_at: float | None = None


class _Standing(msgspec.Struct, frozen=True):
    """What of an attempt says nothing about its job but where it stands. Times in seconds since the epoch."""

    queue: str
    state: str
    claimed_at: float
    started_at: float | None = None
    boot_id: str | None = None
    ending: _Ending | None = None


@click.command("support-bundle")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.tar.gz", help="Write it there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def support_bundle(ctx: click.Context, out: Path | None, as_json: bool) -> None:
    """Pack what is needed to help from afar: host, checks, configuration, state and logs, and no secrets.

    It works without an agent that runs and with a configuration that is broken. Jobs' contents are never in it.
    """
    # What the stores would log is among the findings.
    logging.getLogger("agent").addHandler(logging.NullHandler())
    now = time.time()
    path = out or Path(f"edge-agent-support-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}.tar.gz")
    loaded, broken = _configuration(ctx)
    bundle = Bundle(known_secrets(loaded.config))
    bundle.add_json("versions.json", facts(loaded.config.runtime.path))
    bundle.add_json("configuration.json", _settings(loaded) if broken is None else {"error": mask_text(str(broken))})
    for name, collect in _PARTS.items():
        if broken is None or name not in _WITH_CONFIGURATION:
            _add(bundle, name, partial(collect, bundle, loaded.config))
    bundle.save(path, int(now))
    if as_json:
        print_json({"file": str(path.absolute()), "members": [member._asdict() for member in bundle.members]})
        return
    print_table("", ("member", "size", ""), [(each.name, show_size(each.bytes), each.note) for each in bundle.members])
    click.echo(f"\n{path}: look through it before you give it away")


def _configuration(ctx: click.Context) -> tuple[Loaded, ConfigError | None]:
    """Return the configuration, or else the defaults and what is wrong with it."""
    try:
        return config_from(ctx), None
    except ConfigError as error:
        layer = flag_layer({"agent.state_dir": ctx.meta.get("agent.flags", {}).get("agent.state_dir")})
        return assemble([layer], default_state_dir(os.environ, os.geteuid())), error


def _settings(loaded: Loaded) -> dict[str, Any]:
    rows = [
        {"key": key, "value": masked(key, value), "origin": loaded.origins[key]}
        for key, value in settings(loaded.config)
    ]
    return {"files": list(loaded.files), "settings": rows}


def known_secrets(config: Config) -> Iterator[str]:
    """Yield all secrets that can be read here: written in the configuration, in the files it names, in variables."""
    for key, value in settings(config):
        if isinstance(value, str) and holds_secret(key):
            yield value
        elif isinstance(value, str) and _names_secret(key):
            yield from _content(Path(value))
    names = {secret.env for secret in config.policy.secrets.values()}
    yield from (value for name, value in os.environ.items() if name in names or is_secret_name(name))


def _names_secret(key: str) -> bool:
    """Say whether the dotted key is of a file with a secret."""
    last = key.rpartition(".")[2]
    return key.startswith("policy.secrets.") or (last.endswith("_file") and last not in ("ca_file", "cert_file"))


def _content(path: Path) -> Iterator[str]:
    """Yield what a small file says, as a whole and by lines."""
    try:
        if path.is_file() and path.stat().st_size <= MEMBER_BYTES:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            yield text
            yield from map(str.strip, text.splitlines())
    except OSError:
        return


def _add(bundle: Bundle, name: str, collect: Callable[[], None]) -> None:
    """Collect one part; one that fails says so in its place, and the others go on."""
    try:
        collect()
    except EdgeAgentError as error:
        bundle.add_text(f"{name}.error.txt", f"{error}\n")


def _probe(bundle: Bundle, config: Config) -> None:
    place = Path(tempfile.mkdtemp(prefix="edge-agent-support-"))
    try:
        profile, _ = wiring.record(config, place / "host")
        bundle.add_json("probe.json", profile.table())
        for path in sorted(each for each in place.rglob("*") if each.is_file()):
            bundle.add_file(str(path.relative_to(place)), path.read_bytes())
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _doctor(bundle: Bundle, config: Config) -> None:
    bundle.add_json("doctor.json", list(examine(bench(config))))


def _status(bundle: Bundle, config: Config) -> None:
    bundle.add_json("status.json", ask(config.state_dir, Status()))


def _journal(bundle: Bundle, config: Config) -> None:
    """Add where each attempt stands; what its job is stays here."""
    from agent.adapters.journal import read_entries

    path = config.state_dir / "journal.sqlite"
    if not path.exists():
        raise HostFault(f"there is no journal in {config.state_dir}: no agent ran here")
    bundle.add_json("journal.json", {key: _standing(body) for key, body in read_entries(path).items()})


def _standing(body: bytes) -> _Standing | str:
    try:
        return msgspec.json.decode(body, type=_Standing)
    except msgspec.DecodeError as error:
        return f"{len(body)} bytes that are no attempt: {error}"


def _logs(bundle: Bundle, config: Config) -> None:
    holder = config.state_dir / HOLDER_LOG
    if holder.exists():
        bundle.add_text("logs/holder.log", _end_of(holder))
    if shutil.which("journalctl") is None:
        raise HostFault("there is no journalctl: the agent's log is where its standard error goes")
    for unit in UNITS:
        argv = ["journalctl", f"--unit={unit}", f"--lines={LOG_LINES}", "--no-pager", "--output=short-iso", "--quiet"]
        done = run(argv, JOURNALCTL_SECONDS)
        bundle.add_text(f"logs/{unit}.log", done.out + done.err)


def _end_of(path: Path) -> str:
    """Return the last lines of a log, whole ones: the half of a secret would not be known for one."""
    try:
        with path.open("rb") as file:
            skipped = max(0, path.stat().st_size - 2 * MEMBER_BYTES)
            file.seek(skipped)
            text = file.read(2 * MEMBER_BYTES).decode(errors="replace")
    except OSError as error:
        raise HostFault(f"{path}: {error.strerror}") from None
    return text.partition("\n")[2] if skipped else text


def _files(bundle: Bundle, config: Config) -> None:
    """Add names and sizes of what the agent keeps, to the depth of single attempts."""
    root = config.state_dir
    lines = []
    for path in sorted([*root.glob("*"), *root.glob("*/*"), *root.glob("attempts/*/*")]):
        try:
            found = path.lstat()
        except OSError:
            continue  # it went while it was looked at
        mode = stat.filemode(found.st_mode)
        lines.append(f"{mode} {found.st_uid}:{found.st_gid} {found.st_size:>12} {path.relative_to(root)}\n")
    bundle.add_text("files.txt", "".join(lines) or f"nothing is in {root}\n")


_PARTS: dict[str, Callable[[Bundle, Config], None]] = {
    "doctor": _doctor,
    "status": _status,
    "journal": _journal,
    "files": _files,
    "logs": _logs,
    "probe": _probe,
}
_WITH_CONFIGURATION = ("doctor",)
