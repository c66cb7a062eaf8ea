"""Messages of StudioML clients of every era into jobs with their cargo. Pure.

What a message is goes by its content; no client says its version. Unknown fields are left alone, of equal keys the last
counts, and NaN is accepted where nobody looks at it: Python's clients write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.errors import Dropped, JobError
from agent.jsontext import MAX_BYTES, read_object
from agent.model.cargo import Decoded
from agent.studioml.envelope import is_envelope, opened
from agent.studioml.experiment import about, decoded, request_of
from agent.studioml.reading import Reading

_BLANK = re.compile(r"[ \t\r\n]*")


def is_request(body: bytes) -> bool:
    """Say whether a message is StudioML's, by the keys of its object as far as that can be read."""
    if b'"experiment"' not in body and b'"message"' not in body:
        return False
    keys = set(_keys(body[:MAX_BYTES].decode("utf-8", errors="replace")))
    return "api" not in keys and ("experiment" in keys or ("message" in keys and b'"payload"' in body))


def _keys(text: str) -> Iterator[str]:
    """Yield the keys of the object that the text is, up to where it cannot be read any more."""
    decoder = json.JSONDecoder()
    try:
        position = _after("{", text, 0)
        while True:
            key, position = decoder.raw_decode(text, position)
            if not isinstance(key, str):
                return
            yield key
            _, position = decoder.raw_decode(text, _after(":", text, position))
            position = _after(",", text, position)
    except (ValueError, RecursionError):
        return


def _after(sign: str, text: str, position: int) -> int:
    """Return the place behind the sign that comes next, and behind the white space around it. Raises ValueError."""
    found = _past_blank(text, position)
    if not text.startswith(sign, found):
        raise ValueError(f"no {sign}")
    return _past_blank(text, found + 1)


def _past_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return position if blank is None else blank.end()


def decode(body: bytes, reading: Reading) -> Decoded:
    """Return the job that a message is, and what it brings along.

    Raises Dropped for everything that is no request that can run, `about` it where its sender is known and may be told;
    HostFault for a key of this host that cannot be read.
    """
    table, sealed, vouched_for = _read(body), False, True
    if is_envelope(table):
        message = table["message"]
        table, sealed, vouched_for = _read(opened(message, reading)), True, bool(message.get("signature"))
    elif not reading.rules.allow_clear_text:
        raise Dropped("a request in clear text", hint="this host takes sealed ones only; encrypt for its public key")
    request = request_of(table, reading, sealed)
    try:
        return decoded(request)
    except JobError as error:
        dropped = Dropped(error.what, hint=error.hint)
        dropped.about = about(request) if vouched_for else None
        raise dropped from None


def _read(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body, strict=False)
    except JobError as error:
        raise Dropped(error.what, hint=error.hint) from None
