"""Specifications of devices for containers (CDI), as NVIDIA's toolkit writes them.

Only what binds is taken: device nodes, mounts, variables. Hooks are programs that would run as the agent; what the
toolkit's own ones do (links and a table for libraries) is done by the names under which libraries are bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent.errors import InvalidInput
from agent.gpu.edits import Edits
from agent.gpu.units import own_nodes
from agent.gpu.yaml import parse_yaml
from agent.model.run import Mount

KIND = "nvidia.com/gpu"


class Specification(msgspec.Struct, frozen=True):
    """edits: what every device needs; devices: by name, what each one needs besides."""

    kind: str
    edits: Edits
    devices: Mapping[str, Edits]


def parse_specification(text: str, is_json: bool) -> Specification:
    """Return the specification. Raises InvalidInput for one that cannot be read or binds in an unknown way."""
    table = _table(_json(text) if is_json else parse_yaml(text), "the specification")
    devices = [_table(each, "a device") for each in _items(table, "devices")]
    return Specification(
        kind=_text(table, "kind"),
        edits=_edits(table),
        devices={_text(device, "name"): _edits(device) for device in devices},
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"it is no JSON: {error}") from None


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is {type(value).__name__}, a table was expected")
    return value


def _items(table: Mapping[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidInput(f"{key} is {type(value).__name__}, a list was expected")
    return value or []


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value or "\0" in value or "\n" in value:
        raise InvalidInput(f"{key} is {value!r}, a text on one line was expected")
    return value


def _edits(owner: Mapping[str, Any]) -> Edits:
    edits = _table(owner.get("containerEdits") or {}, "containerEdits")
    pairs = (_variable(each) for each in _items(edits, "env"))
    return Edits(
        nodes=tuple(_node(_table(each, "a device node")) for each in _items(edits, "deviceNodes")),
        mounts=tuple(_mount(_table(each, "a mount")) for each in _items(edits, "mounts")),
        env=dict(pairs),
    )


def _node(table: Mapping[str, Any]) -> str:
    path = _absolute(_text(table, "path"))
    if table.get("hostPath") not in (None, "", path):
        raise InvalidInput(f"the node {path} has another path on the host, which the runtime cannot give it")
    if not path.startswith("/dev/"):
        raise InvalidInput(f"the node {path} is not below /dev")
    return path


def _mount(table: Mapping[str, Any]) -> Mount:
    options = _items(table, "options")
    return Mount(
        _absolute(_text(table, "hostPath")), _absolute(_text(table, "containerPath")), writable="rw" in options
    )


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(f"the path {path!r} is not absolute")
    return path


def _variable(value: Any) -> tuple[str, str]:
    name, equals, text = str(value).partition("=")
    if not name or not equals:
        raise InvalidInput(f"the variable {value!r} is not of the form NAME=VALUE")
    return name, text


def edits_of(found: Iterable[Specification], unit: str, wanted: frozenset[str]) -> Edits | None:
    """Return what the specifications bind for the unit, None when none of them fits.

    wanted: the unit's own nodes, empty where it has none (a Jetson). A device that binds others is not the unit,
    whatever it is called: numbers change when a GPU fails, and a specification may be old.
    """
    for specification in found:
        named = specification.devices.get(unit)
        if not wanted:
            # All its devices may be names of one GPU; of several, nothing says which is meant.
            different = {frozenset(device.nodes) for device in specification.devices.values()}
            fitting = [named] if named else list(specification.devices.values()) if len(different) == 1 else []
        else:
            devices = ([named] if named else []) + list(specification.devices.values())
            fitting = [each for each in devices if own_nodes(each.nodes + specification.edits.nodes) == wanted]
        if fitting:
            return specification.edits.plus(fitting[0])
    return None
