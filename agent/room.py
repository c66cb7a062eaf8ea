"""Whether the disk can take new work: none while the agent's own reserve is not whole, or its journal not written."""

from __future__ import annotations

import logging
from collections.abc import Callable
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

    def __init__(
        self,
        board: Board,
        reserve: Reserve,
        place: Path,
        size: int,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        """size: bytes of the reserve. A quarter of them has to be free besides, half before a full disk is none.

        trouble: says why the journal cannot be written, None where it can.
        """
        self._board = board
        self._reserve = reserve
        self._place = place
        self._size = size
        self._trouble = trouble
        self._is_full = False
        self._give_at = 0.0

    def step(self, now: float) -> float:
        """Look once; return when to come again."""
        self._look_for_room(now)
        self._look_at_journal()
        return now + LOOK

    def _look_at_journal(self) -> None:
        """Hold new work while the journal fails: each job would be pulled and put back, again and again."""
        why = self._trouble()
        if not self._board.hold("journal", why):
            return
        if why is None:
            log.info("journal can be written again", extra={"event": "journal-back"})
        else:
            log.error(
                "journal cannot be written: no new jobs are taken", extra={"event": "journal-fails", "reason": why}
            )

    def _look_for_room(self, now: float) -> None:
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

    def _help_jobs(self, now: float) -> None:
        """Let a job that is here end: what says so is a file, too. Half of the reserve is for the journal alone."""
        if now >= self._give_at and self._board.live() and self._reserve.free() < LITTLE:
            self._reserve.give(least=self._size // 2)
            self._give_at = now + GIVE_EVERY
