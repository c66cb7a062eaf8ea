"""The operator's wish survives a restart: a paused or draining agent is so again when it comes back.

So is a faulty host: a restart mends nothing, and its canary runs at once.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from agent.board import Mode

log = logging.getLogger(__name__)

FILE = "mode.json"


def load_mode(state_dir: Path, *, faulty: bool = True) -> Mode:
    """Return the mode to start in: paused, draining or (unless it shall be tried anew) faulty as left, else ready."""
    try:
        mode = msgspec.json.decode((state_dir / FILE).read_bytes(), type=Mode)
    except FileNotFoundError:
        return Mode("ready")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("mode cannot be read", extra={"event": "mode-unreadable", "reason": str(error)})
        return Mode("ready")
    kept = ("paused", "draining", *(("faulty",) if faulty else ()))
    return mode if mode.name in kept else Mode("ready")


def save_mode(state_dir: Path, mode: Mode) -> None:
    """Remember the mode, as a whole or not at all."""
    try:
        write_whole(state_dir / FILE, msgspec.json.encode(mode))
    except OSError as error:
        log.warning("mode cannot be saved", extra={"event": "mode-unsaved", "reason": str(error)})


def write_whole(place: Path, body: bytes) -> None:
    """Write a small file of the state directory durably, as a whole or not at all. Raises OSError."""
    with place.with_suffix(".new").open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    place.with_suffix(".new").replace(place)
