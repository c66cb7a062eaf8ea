"""Where settings come from: TOML files, EDGE_AGENT_* variables, flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec import inspect

from agent import toml
from agent.config.merge import EMPTY, Layer, merge
from agent.config.sections import Config
from agent.errors import ConfigError, InvalidInput, nearest
from agent.model.schema import join

DEFAULT_FILE = Path("/etc/edge-agent/config.toml")
PREFIX = "EDGE_AGENT_"
FILE_VARIABLE = "EDGE_AGENT_CONFIG"


def files(path: Path | None) -> list[Path]:
    """Return the files to read, lowest first: the main file, then conf.d/*.toml beside it, sorted by name.

    `path` None = the file at the default place, which may be absent. Raises ConfigError.
    """
    main = path or DEFAULT_FILE
    try:
        found = [] if path is None and not main.exists() else [main]
        return found + sorted(main.parent.joinpath("conf.d").glob("*.toml"))
    except OSError as error:
        raise _unreadable(main, error) from None


def file_layer(path: Path) -> Layer:
    """Return what is in one file. Raises ConfigError naming file and line."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", source=f"{path}:{line}") from None
    try:
        document = toml.parse(text, str(path))
    except InvalidInput as error:
        raise ConfigError(error.what, source=error.source, hint=error.hint) from None
    return Layer(document.table, {key: f"{path}:{line}" for key, line in document.lines.items()})


def _unreadable(path: Path, error: OSError) -> ConfigError:
    hints = {
        FileNotFoundError: f"name another with --config or {FILE_VARIABLE}",
        PermissionError: "run as root or as a member of the file's group, or name another file with --config",
    }
    reason = (error.strerror or str(error)).lower()
    return ConfigError(f"cannot be read: {reason}", source=str(path), hint=hints.get(type(error), ""))


def flag_layer(flags: Mapping[str, Any]) -> Layer:
    """Return flags as a layer: {"agent.state_dir": "/x"} was given as --state-dir; None = not given."""
    given = {key: value for key, value in flags.items() if value is not None}
    return reduce(merge, [_layer(key, value, flag_of(key)) for key, value in given.items()], EMPTY)


def _layer(key: str, value: Any, origin: str) -> Layer:
    """Return one dotted key with its value as a layer; what lies inside the value has the same origin."""
    *parents, last = key.split(".")
    table = {last: value}
    for parent in reversed(parents):
        table = {parent: table}
    return Layer(table, dict.fromkeys([key, *(path for path, _ in toml.leaves(value, key))], origin))


def flag_of(key: str) -> str:
    """Return the flag of a dotted key: "--state-dir" for "agent.state_dir"."""
    return "--" + key.rpartition(".")[2].replace("_", "-")


def variable_of(key: str) -> str:
    """Return the variable of a dotted key: "EDGE_AGENT_AGENT__STATE_DIR" for "agent.state_dir"."""
    return PREFIX + key.replace(".", "__").upper()


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return what the EDGE_AGENT_* variables say; an empty one says nothing. Raises ConfigError."""
    keys = {variable_of(key): (key, kind) for key, kind in leaf_keys()}
    layers = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == FILE_VARIABLE:
            continue
        key, kind = _setting(name, keys)
        if environ[name]:
            value = environ[name] if _is_text(kind) else _typed(environ[name])
            layers.append(_layer(key, value, name))
    return reduce(merge, layers, EMPTY)


def _setting(name: str, keys: Mapping[str, tuple[str, inspect.Type]]) -> tuple[str, inspect.Type]:
    table, _, entry = name.partition("LABELS__")
    if table == PREFIX and entry:
        return f"labels.{entry.lower()}", inspect.StrType()
    if name in keys:
        return keys[name]
    known = [each.removeprefix(PREFIX) for each in (*keys, FILE_VARIABLE)]
    hint = nearest(name.removeprefix(PREFIX), known).replace('"', f'"{PREFIX}', 1)
    if not hint.startswith("did you mean"):
        hint = f"{PREFIX}<SECTION>__<KEY>, such as {variable_of('resources.cpus')}"
    raise ConfigError(f'unknown variable "{name}"', source="environment", hint=hint)


def leaf_keys(kind: inspect.Type | None = None, path: str = "") -> Iterator[tuple[str, inspect.Type]]:
    """Yield (dotted key, type) for every key that is no section; `labels` and `queues` are one key each."""
    kind = kind or inspect.type_info(Config)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from leaf_keys(field.type, join(path, field.encode_name))
    else:
        yield path, kind


def units(kind: inspect.Type | None = None, path: str = "") -> dict[str, str]:
    """Return "size" or "duration" for every dotted key that is one; those of queues as "queues.lease"."""
    kind = kind or inspect.type_info(Config)
    if isinstance(kind, inspect.StructType):
        below = [(field.type, join(path, field.encode_name)) for field in kind.fields]
    elif isinstance(kind, inspect.UnionType):
        below = [(member, path) for member in kind.types]
    elif isinstance(kind, inspect.VarTupleType):
        below = [(kind.item_type, path)]
    else:
        unit = (kind.extra or {}).get("unit") if isinstance(kind, inspect.Metadata) else None
        return {path: unit} if unit else {}
    return {key: unit for member, where in below for key, unit in units(member, where).items()}


def _is_text(kind: inspect.Type) -> bool:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(member, (inspect.StrType, inspect.LiteralType)) for member in members)


def _typed(text: str) -> Any:
    """Numbers, true, arrays and tables as in TOML; "512MiB" and "20m" are no TOML values and stay text."""
    try:
        return toml.parse_value(text)
    except InvalidInput:
        return text
