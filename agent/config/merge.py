"""Layers of raw settings put over each other; every value remembers where it came from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.model.schema import join


class Layer(msgspec.Struct, frozen=True):
    """Raw tables, and for each path in them (tables included) the place it was written."""

    table: Mapping[str, Any]
    origins: Mapping[str, str]


EMPTY = Layer({}, {})


def merge(below: Layer, above: Layer) -> Layer:
    """Return `above` put over `below`: tables key by key, everything else (arrays too) as a whole."""
    origins = dict(below.origins)
    table = _merged(below.table, above.table, "", origins)
    return Layer(table, {**origins, **above.origins})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any], path: str, origins: dict[str, str]) -> dict[str, Any]:
    table = dict(below)
    for key, value in above.items():
        here = join(path, key)
        if isinstance(value, Mapping) and isinstance(table.get(key), Mapping):
            table[key] = _merged(table[key], value, here, origins)
        else:
            table[key] = value
            _forget(origins, here)
    return table


def _forget(origins: dict[str, str], path: str) -> None:
    for known in [known for known in origins if known.startswith((f"{path}.", f"{path}["))]:
        del origins[known]
