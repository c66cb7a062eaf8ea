"""How much of its inputs an attempt has fetched, for those who look on."""

from __future__ import annotations

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import JobFault, Unavailable


class Staging:
    """Asks the stores for the sizes of an attempt's inputs once, when somebody wants to know."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sizes: dict[str, int | None] = {}

    def percent(self, attempt: Attempt) -> int | None:
        """Return how much of all inputs together is here, 0 to 100; None where nobody can say."""
        if attempt.id not in self._sizes:
            self._sizes = {known: size for known, size in self._sizes.items() if self._is_here(known)}
            self._sizes[attempt.id] = self._size(attempt)
        size = self._sizes[attempt.id]
        return None if not size else min(100, 100 * self._context.counters.fetched(attempt.id) // size)

    def _is_here(self, attempt_id: str) -> bool:
        return any(live.attempt.id == attempt_id for live in self._context.board.live())

    def _size(self, attempt: Attempt) -> int | None:
        """One request for each input. What may be missing, or is kept from earlier jobs, has no size beforehand."""
        if attempt.cargo.kept or attempt.cargo.optional:
            return None
        try:
            access, given = self._context.access, attempt.cargo.access
            found = [access.by(given.get(each.uri)).stat(each.uri) for each in attempt.job.inputs]
        except (Unavailable, JobFault):
            return None
        return None if None in found else sum(info.size for info in found if info is not None)
