"""Read all sources, merge them, check the result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec

from agent import toml
from agent.config import sections, sources
from agent.config.credentials import with_paths
from agent.config.merge import EMPTY, Layer, merge
from agent.config.sections import Config
from agent.errors import ConfigError, InvalidInput
from agent.model import schema
from agent.redact import MASK, is_secret_name, mask_text

SYSTEM_STATE = "/var/lib/edge-agent"


class Loaded(msgspec.Struct, frozen=True):
    """The configuration, and where it came from.

    origins: dotted key -> "default", "FILE:LINE", a variable or a flag; files: those read, lowest first.
    """

    config: Config
    origins: Mapping[str, str]
    files: tuple[str, ...] = ()


def load_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Return the configuration. `path` (or else the variable EDGE_AGENT_CONFIG) replaces the file in /etc.

    flags: dotted key -> value, None = not given. Raises ConfigError naming key, value, and file with line.
    """
    named = environ.get(sources.FILE_VARIABLE)
    found = sources.files(path or (Path(named) if named else None))
    layers = [
        *map(sources.file_layer, found),
        sources.environment_layer(environ),
        sources.flag_layer(flags),
    ]
    return assemble(
        layers, default_state_dir(environ, os.geteuid(), owner_of(SYSTEM_STATE)), tuple(map(str, found)), environ
    )


def owner_of(directory: str) -> int | None:
    """Return the user to whom a directory belongs, None where there is none to be seen."""
    try:
        return Path(directory).stat().st_uid
    except OSError:
        return None


def default_state_dir(environ: Mapping[str, str], uid: int, owner: int | None = None) -> str:
    """Return /var/lib/edge-agent for root and its `owner`, else edge-agent below the user's state directory.

    A package makes the directory for the user of the service.
    """
    if uid in (0, owner):
        return SYSTEM_STATE
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "/") / ".local/state")
    return str(Path(base) / "edge-agent")


def assemble(
    layers: list[Layer], state_dir: str, files: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> Loaded:
    """Return what `layers` (lowest first) make over the defaults. Pure. Raises ConfigError."""
    written = reduce(merge, layers, EMPTY)
    try:
        table = merge(Layer(sections.defaults(state_dir), {}), written).table
        config = sections.completed(_read(with_paths(table, environ or {})))
        sections.check(config)
    except InvalidInput as error:
        raise _located(error, written.origins) from None
    origins = {key: written.origins.get(key, "default") for key, _ in settings(config)}
    return Loaded(config, origins, files)


def _read(table: Mapping[str, Any]) -> Config:
    config = schema.read(Config, table)
    if config.queues:
        return config
    queue = sections.embedded_queue(config.agent.state_dir)
    return schema.read(Config, {**table, "queues": [queue]})


def _located(error: InvalidInput, origins: Mapping[str, str]) -> ConfigError:
    key = toml.blamed(error.what, origins)
    return ConfigError(_without_secret(error.what), source=origins[key] if key else "configuration", hint=error.hint)


def _without_secret(what: str) -> str:
    """A secret written where its file should be named must not be printed by the error about it."""
    key, equals, _ = what.partition(" = ")
    if equals and (key.startswith("policy.secrets") or holds_secret(key)):
        return f"{key} = {MASK}"
    return mask_text(what)


def holds_secret(key: str) -> bool:
    """Say whether the value of the dotted key is a secret itself, and not the name of a file that holds one."""
    last = key.rpartition(".")[2]
    return is_secret_name(last) and not last.endswith("_file")


def settings(config: Config) -> list[tuple[str, Any]]:
    """Return every (dotted key, value) of the configuration in the order of the reference."""
    return flat(msgspec.to_builtins(config))


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return nested plain data as (dotted key, value); a list of anything but tables is one value."""
    if isinstance(value, dict) and value:
        return [pair for key, below in value.items() for pair in flat(below, schema.join(path, key))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return [pair for index, below in enumerate(value) for pair in flat(below, f"{path}[{index}]")]
    return [(path, value)]
