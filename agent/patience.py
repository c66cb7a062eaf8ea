"""For how long a run that somebody waits for goes on when servers do not answer."""

from __future__ import annotations

import logging

from agent.context import Context

log = logging.getLogger(__name__)


class Patience:
    """Ends when nothing has run, ended or moved here for `longest` seconds, and the board knows what is wrong."""

    def __init__(self, context: Context, longest: float) -> None:
        self._context = context
        self._longest = longest
        self._seen = (0, 0)
        self._since = context.clock.boottime()
        self.is_over = False

    def ends(self) -> bool:
        """Say whether to give up, and tell the log why."""
        board, now = self._context.board, self._context.clock.boottime()
        problems, live = board.problems(), board.live()
        ended = sum(board.totals().jobs_total.values())
        seen = (ended, sum(self._context.counters.sent(each.attempt.id) for each in live))
        runs = any(each.attempt.ending is None for each in live)
        if runs or not problems or seen != self._seen:
            self._seen, self._since = seen, now
        if now - self._since < self._longest:
            return False
        self.is_over = True
        reason = "; ".join(f"{part}: {problem}" for part, problem in problems.items())
        fields = {"event": "gave-up", "seconds": f"{self._longest:g}", "results_here": len(live), "reason": reason}
        log.critical("giving up before the queues are empty: servers do not answer", extra=fields)
        return True
