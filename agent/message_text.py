"""Messages that may be anything, in a form that is safe on a terminal and without secrets. Pure."""

from __future__ import annotations

import json
from typing import Any

from agent.errors import JobError
from agent.jsontext import read_object
from agent.redact import mask_data, mask_text

LONGEST = 64 * 1024  # characters that are shown
_IN_A_LINE = 32  # bytes of a line in hexadecimal


def message_text(body: bytes) -> dict[str, Any]:
    """Return {"form", "body"}: form "json", "text" or "hex"; body the message so, masked and cut where it is too long.

    Text that is damaged is shown as text, too, when something in it had to be masked: no digits may tell it.
    """
    try:
        table = mask_data(read_object(body))
        return _cut("json", json.dumps(table, indent=2, ensure_ascii=False))
    except JobError:
        pass
    text = body.decode("utf-8", "backslashreplace")
    masked = mask_text(text)
    if masked != text or _is_text(body):
        return _cut("text", masked)
    lines = (body[start : start + _IN_A_LINE].hex(" ") for start in range(0, len(body), _IN_A_LINE))
    return _cut("hex", "\n".join(lines))


def _is_text(body: bytes) -> bool:
    try:
        return all(sign.isprintable() or sign.isspace() for sign in body.decode())
    except UnicodeDecodeError:
        return False


def _cut(form: str, text: str) -> dict[str, Any]:
    safe = "".join(each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text[:LONGEST])
    more = f"\n... and {len(text) - LONGEST} characters more" if len(text) > LONGEST else ""
    return {"form": form, "body": safe + more}
