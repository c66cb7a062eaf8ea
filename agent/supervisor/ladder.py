"""How a job is stopped: SIGTERM, again after growing pauses (one during start-up can get lost), the end."""

from __future__ import annotations

from collections import namedtuple

FIRST_PAUSE_S = 0.5

TERM = "term"
KILL = "kill"
WAIT = "wait"


class Ladder(namedtuple("Ladder", "why kill_at term_at pause_s")):
    """A stop that has begun; times are seconds of CLOCK_BOOTTIME."""

    __slots__ = ()
    why: str
    kill_at: float
    term_at: float
    pause_s: float


def begin(why: str, grace_s: float, now: float) -> Ladder:
    return Ladder(why, now + grace_s, now, FIRST_PAUSE_S)


def joined(ladder: Ladder | None, why: str, grace_s: float, now: float) -> Ladder:
    """A further wish to stop: the first reason stays, and the earlier end holds."""
    if ladder is None:
        return begin(why, grace_s, now)
    return ladder._replace(kill_at=min(ladder.kill_at, now + grace_s))


def due(ladder: Ladder, now: float) -> str:
    """What is to be done now: KILL, TERM or WAIT."""
    if now >= ladder.kill_at:
        return KILL
    return TERM if now >= ladder.term_at else WAIT


def after_term(ladder: Ladder, now: float) -> Ladder:
    return ladder._replace(term_at=now + ladder.pause_s, pause_s=ladder.pause_s * 2)


def next_due(ladder: Ladder) -> float:
    return min(ladder.kill_at, ladder.term_at)
