"""What the observers of one attempt must not forget when the agent is restarted, in a file among the attempt's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

FILE = "studioml.json"


class Notes(msgspec.Struct, frozen=True):
    """What was done. accession: the name of the attempt for clients; lines: how many were reported, or left out."""

    accession: str
    lines: int = 0
    started: bool = False
    ended: bool = False


class Memory:
    """The notes of one attempt. Without its directory, or on a full disk, they last as long as the agent."""

    def __init__(self, directory: Path | None, accession: Callable[[], str]) -> None:
        """accession: makes one for an attempt that has no notes yet."""
        self._path = None if directory is None else directory / FILE
        found = _read(self._path)
        self.notes = found or Notes(accession())
        if found is None:
            self.note()

    def note(self, **changes: Any) -> None:
        """Remember fields of Notes, as they are from now on."""
        self.notes = msgspec.structs.replace(self.notes, **changes)
        if self._path is None:
            return
        part = self._path.with_suffix(".part")
        with contextlib.suppress(OSError):
            part.write_bytes(msgspec.json.encode(self.notes))
            part.replace(self._path)


def _read(path: Path | None) -> Notes | None:
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Notes)
    except (OSError, msgspec.MsgspecError):
        return None
