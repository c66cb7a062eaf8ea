"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agent.errors import InvalidInput

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, extra={"unit": "duration"})]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, unknown keys refused."""


def wrong(key: str, value: object, right: str) -> InvalidInput:
    """Return the error about a key; `right` says what would be right."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return InvalidInput(f"{key} = {shown}", hint=right)


def check_absolute(key: str, path: str) -> None:
    """Raise InvalidInput for a path that is not absolute."""
    if not path.startswith("/") or "\0" in path:
        raise wrong(key, path, "an absolute path")
