"""Where an object lies."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """An object by its bucket and key."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.key}"
