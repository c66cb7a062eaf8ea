"""From the queues to the workers: one loop a queue pulls while a worker is free; every delivery gets a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from agent.attempt import Attempt
from agent.context import Context, Queue
from agent.errors import Unavailable
from agent.guard import guarded
from agent.ports import Delivery, Lease
from agent.worker import follow, work

log = logging.getLogger(__name__)

IDLE = 1.0  # seconds between looks while no new work may be taken


class Workers:
    """The threads that carry one job each; at most `count` of them take new work."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._slots = threading.Semaphore(count)
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self.count = count

    def free(self, timeout: float) -> bool:
        """Wait for a free worker and take it; False after `timeout` seconds without one."""
        return self._slots.acquire(timeout=timeout)

    def unused(self) -> None:
        """Put a worker back that found nothing to do."""
        self._slots.release()

    def take(self, queue: Queue, delivery: Delivery) -> None:
        """Let a worker that was taken carry the delivery."""
        task = partial(work, self._context, queue, delivery)
        self._start(delivery.sid, task, self._slots.release)

    def carry_on(self, attempt: Attempt) -> None:
        """Follow an attempt of an earlier life of the agent, beyond the count: it runs already."""
        self._start(attempt.sid, partial(follow, self._context, attempt), lambda: None)

    def _start(self, sid: str, task: Callable[[], None], after: Callable[[], None]) -> None:
        def run() -> None:
            try:
                guarded(self._context, sid, task)
            finally:
                after()
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=sid, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def busy(self) -> bool:
        """Say whether any worker carries a job."""
        with self._lock:
            return bool(self._threads)

    def join(self) -> None:
        """Wait until no worker carries a job."""
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()


class Puller:
    """Pulls from one queue while a worker is free and the mode allows it."""

    def __init__(self, context: Context, queue: Queue, workers: Workers, wait: float) -> None:
        """`wait`: seconds that one pull may block."""
        self._context = context
        self._queue = queue
        self._workers = workers
        self._wait = wait
        self._failures = 0
        self._empty_at: int | None = None

    def step(self, now: float) -> float:
        """Pull once."""
        board = self._context.board
        if not board.mode.takes_work:
            return now + IDLE
        if not self._workers.free(IDLE):
            return now
        before, delivery = board.events, None
        try:
            delivery = self._pull()
        except Unavailable as error:
            return now + self._failed(error)
        finally:
            if delivery is None:
                self._workers.unused()
        self._answered()
        if delivery is None:
            self._empty_at = before
        else:
            self._workers.take(self._queue, delivery)
        return now

    def _pull(self) -> Delivery | None:
        """Return a delivery, if one comes and no pause came before it."""
        delivery = self._queue.source.pull(self._wait)
        if delivery is None or self._context.board.mode.takes_work:
            return delivery
        self._queue.source.release(Lease(delivery.sid, delivery.handle), 0.0)
        return None

    def found_nothing_since(self, events: int) -> bool:
        """Say whether a pull that began after the board's event number `events` found nothing."""
        return self._empty_at is not None and self._empty_at >= events

    def _failed(self, error: Unavailable) -> float:
        self._failures += 1
        if self._context.board.problem(f"queue {self._queue.name}", str(error)):
            fields = {"event": "queue-unavailable", "queue": self._queue.name, "reason": str(error)}
            log.warning("queue does not answer", extra=fields)
        return self._context.back_off.delay(self._failures, self._context.random())

    def _answered(self) -> None:
        self._failures = 0
        if self._context.board.problem(f"queue {self._queue.name}", None):
            log.info("queue answers again", extra={"event": "queue-available", "queue": self._queue.name})
