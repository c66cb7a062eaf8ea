"""Raw tables (from JSON or TOML) into frozen structures, with errors a person can act on.

msgspec checks types and bounds. What it cannot do is done before: an unknown key is answered with the nearest
known one, and fields marked as a size or a duration accept the spellings of `units`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from agent.errors import InvalidInput, nearest
from agent.model.units import parse_duration, parse_size

T = TypeVar("T")
_PARSERS = {"size": parse_size, "duration": parse_duration}


def read(kind: type[T], raw: object) -> T:
    """Return `raw` as a `kind`. Raises InvalidInput naming the key (dotted), its value and what would be right."""
    prepared = _prepare(_type_info(cast("Hashable", kind)), raw, "")
    try:
        return msgspec.convert(prepared, kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error), prepared) from None


@cache
def _type_info(kind: Hashable) -> inspect.Type:
    """Taking a structure's type apart costs a millisecond, more than reading a job by it."""
    return inspect.type_info(kind)


def _prepare(kind: inspect.Type, raw: Any, path: str) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _with_unit(kind, raw, path)
    if isinstance(kind, inspect.StructType) and isinstance(raw, Mapping):
        return _prepare_struct(kind, raw, path)
    if isinstance(kind, inspect.DictType) and isinstance(raw, Mapping):
        return {key: _prepare_member(kind.value_type, value, join(path, str(key))) for key, value in raw.items()}
    if isinstance(kind, (inspect.VarTupleType, inspect.ListType)) and isinstance(raw, (list, tuple)):
        return [_prepare(kind.item_type, value, f"{path}[{index}]") for index, value in enumerate(raw)]
    if isinstance(kind, inspect.UnionType):
        return _prepare_union(kind, raw, path)
    return raw


def _prepare_member(kind: inspect.Type, raw: Any, path: str) -> Any:
    """Check texts in free tables here: msgspec's message would not name the key."""
    if isinstance(kind, inspect.StrType) and not isinstance(raw, str):
        raise InvalidInput(f"{path} = {raw!r}: Expected str", hint="a text in quotes")
    return _prepare(kind, raw, path)


def _with_unit(kind: inspect.Metadata, raw: Any, path: str) -> Any:
    unit = (kind.extra or {}).get("unit")
    if unit is None or not isinstance(raw, str):
        return _prepare(kind.type, raw, path)
    try:
        return _PARSERS[unit](raw)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.what}", hint=error.hint) from None


def _prepare_struct(kind: inspect.StructType, raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    fields = {field.encode_name: field for field in kind.fields}
    for key in raw:
        if key not in fields:
            raise InvalidInput(f'unknown key "{join(path, str(key))}"', hint=nearest(str(key), fields))
    return {key: _prepare(fields[key].type, value, join(path, key)) for key, value in raw.items()}


def _prepare_union(kind: inspect.UnionType, raw: Any, path: str) -> Any:
    """Descend into the one member of the union that has the shape of `raw`."""
    wanted: tuple[type, ...] = (inspect.Metadata,)
    if isinstance(raw, Mapping):
        wanted = (inspect.StructType, inspect.DictType)
    elif isinstance(raw, (list, tuple)):
        wanted = (inspect.VarTupleType, inspect.ListType)
    member = next((each for each in kind.types if isinstance(each, wanted)), None)
    return raw if member is None else _prepare(member, raw, path)


def join(path: str, key: str) -> str:
    """Return the dotted path of `key` below `path`."""
    return f"{path}.{key}" if path else key


def _explained(message: str, raw: Any) -> InvalidInput:
    """Turn msgspec's "Expected `int`, got `str` - at `$.a.b[1]`" into a sentence with the key and the value."""
    wrong, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    wrong = wrong.replace("`", "").replace("Object missing", "missing")
    if not path:
        return InvalidInput(wrong)
    found = _at(raw, path)
    return InvalidInput(f"{path} = {found!r}: {wrong}" if found is not None else f"{path}: {wrong}")


def _at(raw: Any, path: str) -> Any:
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(raw, Mapping):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return None
    return raw if not isinstance(raw, (dict, list)) else None
