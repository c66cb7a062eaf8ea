"""What the agent is doing right now: its mode, its attempts, what it refused. One lock around frozen values.

Everything that shows state renders a Snapshot of this; everything that steers (control socket, leases, signals)
leaves its wish here, and the worker that owns the attempt acts on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import msgspec

from agent.attempt import Attempt, State
from agent.model.records import Outcome
from agent.model.usage import Totals, Usage
from agent.model.verdict import Refusal

ModeName = Literal["starting", "ready", "paused", "draining", "faulty"]
LEASE_LOST = "lease-lost"  # the wish of leases.py that an attempt ends
KEPT = 200  # ended attempts and refusals that a snapshot still shows


class Mode(msgspec.Struct, frozen=True):
    """Whether new work is taken. reason: what the operator, or the agent, noted. since: seconds since the epoch.

    by: the operator who wanted it, None = the agent itself. held: why a ready agent takes no new work for now, by
    itself; None = it does.
    """

    name: ModeName = "starting"
    reason: str | None = None
    since: float | None = None
    by: str | None = None
    held: str | None = None

    @property
    def takes_work(self) -> bool:
        """True when new jobs may be pulled."""
        return self.name == "ready" and self.held is None


class Refused(msgspec.Struct, frozen=True):
    """A job that this host does not run, and why. standing: refused-now or refused-here."""

    sid: str
    name: str
    queue: str
    standing: str
    refusals: tuple[Refusal, ...]

    @property
    def unmet(self) -> tuple[object, ...]:
        """What tells it from another refusal: not what the host has, which changes all the time."""
        return (self.standing, *((each.reason, each.required) for each in self.refusals))


class Live(msgspec.Struct, frozen=True):
    """An attempt with what is going on: the step it is in, a wish to stop it, a delivery that cannot leave.

    trouble: what is wrong with what it runs on.
    """

    attempt: Attempt
    step: str = ""
    stop: str | None = None
    waiting: str | None = None
    trouble: str | None = None


class Board:
    """The shared state of all threads of the agent. `events` counts what happened to attempts, `stirs` all changes."""

    def __init__(self, on_mode: Callable[[Mode], None] = lambda mode: None) -> None:
        """`on_mode` is called after each change of mode, to remember and announce it."""
        self._lock = threading.RLock()
        self._mode = Mode()
        self._live: dict[str, Live] = {}
        self._ended: OrderedDict[str, Live] = OrderedDict()
        self._refused: OrderedDict[str, Refused] = OrderedDict()
        self._returning: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._holds: dict[str, str] = {}
        self._totals = Totals()
        self._on_mode = on_mode
        self.events = 0
        self.changed = threading.Condition(self._lock)
        self.stirs = 0

    @property
    def mode(self) -> Mode:
        """The mode."""
        return self._mode

    def set_mode(self, mode: Mode) -> None:
        """Change the mode; what holds new work stays."""
        with self.changed:
            self._mode = msgspec.structs.replace(mode, held=self._mode.held)
            self._stir()
        self._on_mode(mode)

    def hold(self, part: str, why: str | None) -> bool:
        """Take no new work because of a part of this host, None when it is no reason any more; True when it is news.

        It is a problem of that part, too, and nothing that an operator could resume.
        """
        with self.changed:
            if self._holds.get(part) == why:
                return False
            self._holds = {name: each for name, each in self._holds.items() if name != part}
            if why is not None:
                self._holds[part] = why
            held = "; ".join(f"{name}: {each}" for name, each in self._holds.items())
            self._mode = msgspec.structs.replace(self._mode, held=held or None)
            self.problem(part, why)
            self._stir()
            return True

    # --- changes ---

    def nudge(self) -> None:
        """Wake those who wait for a change: something that the board does not show has changed."""
        with self.changed:
            self._stir()

    def wait(self, seen: int, timeout: float) -> None:
        """Wait until something has changed since `stirs` was `seen`, for `timeout` seconds at most."""
        with self.changed:
            self.changed.wait_for(lambda: self.stirs != seen, timeout)

    def _stir(self) -> None:
        self.stirs += 1
        self.changed.notify_all()

    # --- attempts ---

    def show(self, attempt: Attempt, step: str = "") -> None:
        """Show the attempt as it is now; one that reached its end moves to the ended ones."""
        with self.changed:
            before = self._live.pop(attempt.id, None)
            live = Live(attempt, step)
            if before is not None:
                live = msgspec.structs.replace(live, stop=before.stop, trouble=before.trouble)
            if attempt.state.is_end:
                self._keep(self._ended, attempt.id, live)
                usage = attempt.usage or Usage()
                self._totals = self._totals.plus(_outcome(attempt), usage, len(attempt.reserved.gpus))
            else:
                self._live[attempt.id] = live
                self._refused.pop(attempt.sid, None)
            self.events += 1
            self._stir()

    def forget(self, attempt: Attempt) -> None:
        """Take an attempt off that was never claimed."""
        with self.changed:
            self._live.pop(attempt.id, None)
            self._stir()

    def wait_in_outbox(self, attempt: Attempt, why: str) -> None:
        """Note that the attempt is finished and its results cannot leave at present."""
        with self.changed:
            live = self._live.get(attempt.id, Live(attempt))
            self._live[attempt.id] = msgspec.structs.replace(live, attempt=attempt, step="outbox", waiting=why)
            self._stir()

    def live(self) -> tuple[Live, ...]:
        """Return all attempts that are not at their end."""
        with self._lock:
            return tuple(self._live.values())

    def ended(self) -> tuple[Live, ...]:
        """Return the attempts that ended last, oldest first."""
        with self._lock:
            return tuple(self._ended.values())

    def totals(self) -> Totals:
        """Return the sums over all attempts that reached their end."""
        with self._lock:
            return self._totals

    def find(self, sid: str) -> Live | None:
        """Return the live attempt at this job."""
        with self._lock:
            return next((live for live in self._live.values() if live.attempt.sid == sid), None)

    def ask_stop(self, attempt_id: str, why: str) -> bool:
        """Wish that the attempt ends; the first reason stays. False when it is not here, or finished already."""
        with self.changed:
            live = self._live.get(attempt_id)
            if live is None or live.attempt.ending is not None:
                return False
            if live.stop is None and why == LEASE_LOST:
                self._totals = self._totals.plus_lost_lease()
            self._live[attempt_id] = msgspec.structs.replace(live, stop=live.stop or why)
            self._stir()
            return True

    def mark(self, attempt_id: str, trouble: str | None) -> bool:
        """Note what is wrong with what the attempt runs on, None when nothing is any more; True when it is news."""
        with self.changed:
            live = self._live.get(attempt_id)
            if live is None or live.trouble == trouble:
                return False
            self._live[attempt_id] = msgspec.structs.replace(live, trouble=trouble)
            self._stir()
            return True

    def stop_wish(self, attempt_id: str) -> str | None:
        """Return why the attempt shall end, or None."""
        with self._lock:
            live = self._live.get(attempt_id)
            return live.stop if live else None

    # --- refusals ---

    def refuse(self, refused: Refused) -> bool:
        """Remember a refusal; True when it is news: other requirements than last time, whatever is free by now."""
        with self.changed:
            before = self._refused.get(refused.sid)
            news = before is None or before.unmet != refused.unmet
            if news:
                self._totals = self._totals.plus_refusal({refusal.reason.value for refusal in refused.refusals})
            self._keep(self._refused, refused.sid, refused)
            self._stir()
            return news

    def refused(self) -> tuple[Refused, ...]:
        """Return the refusals of jobs that have not run here since, oldest first."""
        with self._lock:
            return tuple(self._refused.values())

    def will_return(self, sid: str, when: float) -> None:
        """Note that this host means to look at the job again at `when` (seconds since boot)."""
        with self._lock:
            self._returning[sid] = when
            self.events += 1

    def returning(self, now: float) -> bool:
        """Say whether a job that was given back is still to be looked at again here."""
        with self._lock:
            due = [sid for sid, when in self._returning.items() if when <= now]
            for sid in due:
                del self._returning[sid]
            # A pull that found nothing before a job came back has not looked at it.
            self.events += len(due)
            return bool(self._returning)

    # --- problems ---

    def problem(self, part: str, message: str | None) -> bool:
        """Note what is wrong with a part (a queue, a store), None when nothing is any more; True when it is news."""
        with self._lock:
            news = self._problems.get(part) != message
            self._problems.pop(part, None)
            if message is not None:
                self._problems[part] = message
            return news

    def problems(self) -> dict[str, str]:
        """Return what is wrong now, by part."""
        with self._lock:
            return dict(self._problems)

    @staticmethod
    def _keep(store: OrderedDict[str, Live] | OrderedDict[str, Refused], key: str, value: Live | Refused) -> None:
        store[key] = value  # type: ignore[assignment]
        store.move_to_end(key)
        while len(store) > KEPT:
            store.popitem(last=False)


def _outcome(attempt: Attempt) -> str:
    """An attempt that was overtaken has no result, however its container ended."""
    overtaken = attempt.state is State.SUPERSEDED
    return Outcome.SUPERSEDED.value if overtaken or attempt.ending is None else attempt.ending.outcome.value
