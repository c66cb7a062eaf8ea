"""Whether the disk has room for new work: none is taken before the agent's own reserve is whole again."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.board import Board
from agent.model.units import show_size
from agent.ports import Reserve

log = logging.getLogger(__name__)

LOOK = 2.0  # seconds between looks at the disk
LITTLE = 64 * 1024  # bytes: with less, no job can leave word of its end
GIVE_EVERY = 10.0  # seconds: a job that goes on writing gets no more than a part of the reserve in that time


class Room:
    """Keeps the reserve whole, and holds new work while it is not, or while hardly anything else is left."""

    def __init__(self, board: Board, reserve: Reserve, place: Path, size: int) -> None:
        """size: bytes of the reserve. A quarter of them has to be free besides, half before a full disk is none."""
        self._board = board
        self._reserve = reserve
        self._place = place
        self._size = size
        self._is_full = False
        self._give_at = 0.0

    def step(self, now: float) -> float:
        """Look once; return when to come again."""
        spare = self._size // (2 if self._is_full else 4)
        self._is_full = not (self._reserve.keep(spare) and self._reserve.free() >= spare)
        why = (
            f"less than {show_size(self._size)} can be written below {self._place}, which the agent needs for itself; "
            "free some space there, or mend the disk where it is read-only"
        )
        if self._board.hold("disk", why if self._is_full else None):
            if self._is_full:
                log.error("disk is full: no new jobs are taken", extra={"event": "disk-full", "reason": why})
            else:
                log.info("disk has room again", extra={"event": "disk-room"})
        if self._is_full:
            self._help_jobs(now)
        return now + LOOK

    def _help_jobs(self, now: float) -> None:
        """Let a job that is here end: what says so is a file, too. Half of the reserve is for the journal alone."""
        if now >= self._give_at and self._board.live() and self._reserve.free() < LITTLE:
            self._reserve.give(least=self._size // 2)
            self._give_at = now + GIVE_EVERY
