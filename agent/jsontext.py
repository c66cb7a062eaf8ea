"""One JSON object out of bytes that anybody may have written. Pure.

Both wire forms are read by it: bounded in size and depth, and without texts that could not be stored or sent on.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from agent.errors import JobError

MAX_BYTES = 4 * 1024**2
MAX_DEPTH = 64
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def read_object(body: bytes, *, strict: bool = True) -> dict[str, Any]:
    """Return the one JSON object in `body`. Raises JobError saying what is wrong with it.

    strict: what different readers understand differently is wrong, too: a key twice, NaN, numbers beyond a float. Else
    the last of equal keys counts, and numbers may be infinite or NaN.
    """
    if len(body) > MAX_BYTES:
        raise JobError(f"a message of {len(body)} bytes", hint=f"at most {MAX_BYTES} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None
    value = _parsed(text, strict)
    if not isinstance(value, dict):
        raise JobError(f"a JSON {kind_of(value)}, not an object", hint="a job is one JSON object")
    return value


def _parsed(text: str, strict: bool) -> Any:
    try:
        value = _strictly(text) if strict else json.loads(text)
        _check_depth(value)
        # A lone surrogate can be written as an escape but is no text: it could not be stored or sent on.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise JobError(f"not JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JobError(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise JobError("a text with half a surrogate pair") from None
    except ValueError as error:  # integers with thousands of digits
        raise JobError(f"not JSON that can be read: {error}") from None
    return value


def _strictly(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_table, parse_constant=_refuse_constant, parse_float=_number)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise JobError(f'the key "{key}" is there twice')
        table[key] = value
    return table


def _refuse_constant(text: str) -> NoReturn:
    raise JobError(f"{text} is not a JSON number")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JobError(f"the number {text} is too large")
    return number


def _check_depth(value: Any, levels: int = MAX_DEPTH) -> None:
    if not isinstance(value, (dict, list)):
        return
    if levels == 0:
        raise JobError(_TOO_DEEP)
    for below in value.values() if isinstance(value, dict) else value:
        _check_depth(below, levels - 1)


def kind_of(value: Any) -> str:
    """Return what JSON calls the kind of a value."""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")
