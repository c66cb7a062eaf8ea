"""What all sections of the configuration share."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from agent.errors import InvalidInput

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, extra={"unit": "duration"})]


_CERTIFICATES = re.compile(r"(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+")


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


def check_certificates(key: str, text: str | None) -> None:
    """Raise InvalidInput for text that is there and holds anything but certificates in PEM."""
    if text is not None and not _CERTIFICATES.fullmatch(text):
        raise InvalidInput(f"{key} holds no certificate", hint="the text of a PEM file: -----BEGIN CERTIFICATE-----...")
