"""From the queues to the workers: loops pull while a worker is free; every delivery that finds one gets a thread.

A queue has one loop, or one a lane; queues that were found in a project share a few loops, which take turns. A blocked
pull occupies no worker, so that all lanes can wait at once; what arrives when the last worker is taken goes back to the
queue, or is held if the spare place is open (agent.spare): for that a queue is asked even while all workers are busy,
but briefly, so that hosts with free workers get a new job first. Of several queues that have jobs, the one that was
served longest ago is asked first.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from agent.admission import give_back
from agent.attempt import Attempt
from agent.context import Context, Pull, Queue
from agent.errors import Unavailable
from agent.fairness import Line
from agent.guard import guarded
from agent.lanes import has_room
from agent.ports import Delivery, Lease
from agent.worker import follow, work

log = logging.getLogger(__name__)

IDLE = 1.0  # seconds between looks while no new work may be taken
SURPLUS_DELAY = 2.0  # seconds until a delivery that found no worker may come again
LONGEST_PAUSE = 5.0  # seconds between tries of a queue that does not answer: it is back soon after its server
FIRST_AGAIN = 3.0  # seconds that the first pull after a failure may block: then it is known that the queue answers
REFUSALS_IN_A_ROW = 10  # after so many, each further one makes the lane look away
LOOK_AWAY = 5.0  # seconds, at most
SENTENCES = 5  # about one queue, or about those of a project, that the board shows at once
TURN_LOOPS = 4  # loops that take turns over the queues of projects
SURPLUS_PULL = 1.0  # seconds that a pull may block while no worker is free: it finds what nobody else wants
SURPLUS_EVERY = 5.0  # seconds between two such pulls that find nothing
# Seconds that a pull of one of many queues may block. Each costs about a millisecond of CPU time, and with all loops at
# it a turn over N queues takes 1.25 s * N.
TURN_PULL = 5.0
BACKLOG_PULL = 1.0  # seconds that a pull may block of a queue that has just given a job: others have jobs, too


class Gave(Enum):
    """What the last pull of a queue gave. SURPLUS: a job that no worker was free for any more."""

    NOTHING = "nothing"
    JOB = "job"
    SURPLUS = "surplus"
    FAILURE = "failure"


class Workers:
    """The threads that carry one job each; at most `count` of them take new work."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._free = count
        self._line = Line()
        self.count = count

    @property
    def serves_many(self) -> bool:
        """Say whether there is more than one queue."""
        return self._line.is_shared

    def join_line(self, name: str) -> None:
        """Let a queue take its turn among all others."""
        with self._changed:
            self._line.join(name)

    def leave_line(self, name: str) -> None:
        """Let the others wait no more for a queue that is not there any more."""
        with self._changed:
            self._line.leave(name)
            self._changed.notify_all()

    def note(self, name: str, way: int, gave: Gave) -> None:
        """Note what a pull of a queue by one of its ways gave: its next turn depends on it."""
        with self._changed:
            note = {Gave.JOB: self._line.served, Gave.SURPLUS: self._line.in_vain}.get(gave, self._line.empty)
            note(name, way)
            self._changed.notify_all()

    def its_turn(self, name: str, timeout: float) -> bool:
        """Wait until a worker is free and no other queue goes first; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._line.may_ask(name, self._free), timeout)

    def its_turn_now(self, name: str, places: int) -> bool:
        """Say whether one of so many places is for this queue."""
        with self._changed:
            return self._line.may_ask(name, places)

    def free(self, timeout: float) -> bool:
        """Wait until a worker is free, without taking it; False after `timeout` seconds without one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._free > 0, timeout)

    def free_now(self) -> int:
        """Return how many workers are free."""
        with self._changed:
            return self._free

    def take(self, queue: Queue, delivery: Delivery, after: Callable[[], None] = lambda: None) -> bool:
        """Let a free worker carry the delivery, or let it be held; call `after` at its end. False if neither can be."""
        seat = _Seat(self)
        if not seat.retake() and not self._context.spare.is_open(self._context.clock.boottime()):
            return False

        def done() -> None:
            after()
            seat.leave()

        self._start(delivery.sid, partial(work, self._context, queue, delivery, seat), done)
        return True

    def take_one(self) -> bool:
        """Take a free worker; False when there is none."""
        with self._changed:
            if self._free == 0:
                return False
            self._free -= 1
            return True

    def put_back(self) -> None:
        """Let others have a worker that was taken."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()
        self._context.board.nudge()  # a job that is held may wait for it

    def carry_on(self, attempt: Attempt) -> None:
        """Follow an attempt of an earlier life of the agent, beyond the count: it runs already."""
        self._start(attempt.sid, partial(follow, self._context, attempt), lambda: None)

    def _start(self, sid: str, task: Callable[[], None], after: Callable[[], None]) -> None:
        def run() -> None:
            try:
                guarded(self._context, sid, task)
            finally:
                after()
                with self._changed:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=sid, daemon=True)
        with self._changed:
            self._threads.add(thread)
        thread.start()

    def busy(self) -> bool:
        """Say whether any worker carries a job."""
        with self._changed:
            return bool(self._threads)

    def join(self) -> None:
        """Wait until no worker carries a job."""
        while True:
            with self._changed:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()


class _Seat:
    """The worker of one job, see agent.spare. Used by the job's own thread only."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.taken = False

    @property
    def free(self) -> bool:
        return self._workers.free_now() > 0

    def leave(self) -> None:
        if self.taken:
            self.taken = False
            self._workers.put_back()

    def retake(self) -> bool:
        self.taken = self.taken or self._workers.take_one()
        return self.taken


class Health:
    """Whether the ways into one queue answer: one problem on the board, one line in the log for each new sentence."""

    def __init__(self, context: Context, name: str) -> None:
        self._board = context.board
        self._name = name
        self._lock = threading.Lock()
        self._failing: dict[int, str] = {}

    def failed(self, way: int, message: str) -> None:
        """Note that a pull failed."""
        with self._lock:
            known = message in self._failing.values()
            self._failing[way] = message
            self._show()
        if not known:
            fields = {"event": "queue-unavailable", "queue": self._name, "reason": message}
            log.warning("queue does not answer", extra=fields)

    def answered(self, way: int) -> None:
        """Note that a pull came to its end."""
        with self._lock:
            if self._failing.pop(way, None) is None:
                return
            self._show()
            if not self._failing:
                log.info("queue answers again", extra={"event": "queue-available", "queue": self._name})

    def forget(self, way: int) -> None:
        """Note that a way is not there any more."""
        with self._lock:
            if self._failing.pop(way, None) is not None:
                self._show()

    def _show(self) -> None:
        sentences = sorted(set(self._failing.values()))
        more = [f"and {len(sentences) - SENTENCES} more"] if len(sentences) > SENTENCES else []
        self._board.problem(f"queue {self._name}", "; ".join([*sentences[:SENTENCES], *more]) or None)


class Puller:
    """One way of getting deliveries of one queue, while a worker is free and the mode allows it."""

    def __init__(
        self,
        context: Context,
        queue: Queue,
        workers: Workers,
        wait: float,
        way: tuple[int, str, Pull] | None = None,
        health: Health | None = None,
    ) -> None:
        """wait: seconds that one pull may block. way: number, lane and function, None = the queue's source."""
        self._context = context
        self._queue = queue
        self._workers = workers
        self._wait = wait
        self._number, self._lane, self._pull = way or (0, "", queue.source.pull)
        self._health = health or Health(context, queue.name)
        self.name = queue.name
        workers.join_line(queue.name)
        self.gave = Gave.NOTHING
        self._failures = 0
        self._refusals = 0
        self._empty_at: int | None = None
        self._surplus_at = 0.0

    def step(self, now: float) -> float:
        """Pull once; return when to come again."""
        if not takes_work(self._context):
            return now + IDLE
        if not self._workers.its_turn(self.name, IDLE):
            return self._surplus(now)
        if not room_now(self._context, self._lane):
            return self._surplus(now)
        return self.turn(now, self._longest())

    def _longest(self) -> float:
        """Return for how many seconds a pull may block: while others wait for their turn, not longer than need be."""
        if not self._workers.serves_many:
            return self._wait
        return {Gave.JOB: BACKLOG_PULL, Gave.SURPLUS: BACKLOG_PULL + 2 * SURPLUS_DELAY}.get(self.gave, self._wait)

    def _surplus(self, now: float) -> float:
        """Ask for a job to hold until there is room, if there is none yet."""
        full = not self._workers.free_now() or not has_room(self._context.ledger.free(), self._lane)
        if now < self._surplus_at or not full or not self._context.spare.is_open(now):
            return now
        if not self._workers.its_turn_now(self.name, places=1):
            return now
        due = self.turn(now, SURPLUS_PULL)
        self._surplus_at = 0.0 if self.gave is Gave.JOB else self._context.clock.boottime() + SURPLUS_EVERY
        return due

    def turn(self, now: float, longest: float) -> float:
        """Pull once, for `longest` seconds at most, and note what it gave; return when to come again."""
        before, wait = self._context.board.events, min(longest, self._wait)
        try:
            delivery = self._pull(min(wait, FIRST_AGAIN) if self._failures else wait)
        except Unavailable as error:
            self._note(Gave.FAILURE)
            return self._context.clock.boottime() + self._failed(error)
        self._failures = 0
        self._health.answered(self._number)
        if delivery is None:
            self._note(Gave.NOTHING)
            self._empty_at, self._refusals = before, 0
            return now
        self._empty_at = None
        self._note(Gave.JOB if self._hand_on(delivery) else Gave.SURPLUS)
        pause = self._look_away()
        if pause:
            self._workers.note(self.name, self._number, Gave.NOTHING)  # nobody waits for it meanwhile
        return self._context.clock.boottime() + pause

    def _note(self, gave: Gave) -> None:
        self.gave = gave
        self._workers.note(self.name, self._number, gave)

    def found_nothing_since(self, events: int) -> bool:
        """Say whether a pull that began after the board's event number `events` found nothing."""
        return self._empty_at is not None and self._empty_at >= events

    def _hand_on(self, delivery: Delivery) -> bool:
        """Give the delivery to a worker, or back to the queue when there is none for it now: False."""
        if self._context.leases.adopt(delivery.sid, delivery.handle):
            return True
        if takes_work(self._context) and self._workers.take(self._queue, delivery, partial(self._worked, delivery.sid)):
            return True
        self._give_back(delivery)
        return False

    def _give_back(self, delivery: Delivery) -> None:
        lease = Lease(delivery.sid, delivery.handle)
        try:
            give_back(self._context, self._queue, lease, SURPLUS_DELAY)
        except Unavailable as error:
            self._health.failed(self._number, str(error))  # it comes again when its lease ends

    def _worked(self, sid: str) -> None:
        refused = any(each.sid == sid for each in self._context.board.refused())
        self._refusals = self._refusals + 1 if refused else 0

    def _look_away(self) -> float:
        return LOOK_AWAY * self._context.random() if self._refusals >= REFUSALS_IN_A_ROW else 0.0

    def _failed(self, error: Unavailable) -> float:
        self._failures += 1
        self._health.failed(self._number, str(error))
        return min(LONGEST_PAUSE, self._context.back_off.delay(self._failures, self._context.random()))


def takes_work(context: Context) -> bool:
    """Say whether new jobs may start here: the mode allows it, and no job starves."""
    return context.board.mode.takes_work and context.spare.starving is None


def room_now(context: Context, lane: str = "") -> bool:
    """Say whether a job of the lane may fit; where none does, only after a change here, or a while without one."""
    seen = context.board.stirs
    if has_room(context.ledger.free(), lane):
        return True
    context.board.wait(seen, IDLE)
    return False


def pullers(context: Context, queue: Queue, workers: Workers, wait: float) -> list[Puller]:
    """Return the loops of a queue: one for each way of getting deliveries. wait: see Puller."""
    health = Health(context, queue.name)
    wait = wait if queue.pull_wait is None else queue.pull_wait
    ways = queue.pulls or {"": queue.source.pull}
    return [
        Puller(context, queue, workers, wait, (number, lane, pull), health)
        for number, (lane, pull) in enumerate(ways.items())
    ]


@dataclass(eq=False)
class _InLine:
    """A queue in the line. due: when it may be asked again, seconds since boot; asked: a loop is at it."""

    puller: Puller
    due: float = 0.0
    asked: bool = False

    @property
    def has_more(self) -> bool:
        """Say whether it is likely to give a job at once."""
        return self.puller.gave in (Gave.JOB, Gave.SURPLUS)


class Turns:
    """Queues in a line that a few loops ask one after the other; whichever was asked goes to the end of the line.

    Jobs of one queue never keep those of another waiting: of the queues that have just given a job, no more are asked
    than workers are free. A queue that gave a job in vain, because the last worker was taken meanwhile, goes to the
    head of the line, and is asked when that job can be had again.
    """

    def __init__(self, context: Context, workers: Workers) -> None:
        self._context = context
        self._workers = workers
        self._line: list[_InLine] = []
        self._lock = threading.Lock()

    def join(self, puller: Puller) -> None:
        """Ask this queue, too."""
        with self._lock:
            self._line.append(_InLine(puller))

    def leave(self, puller: Puller) -> None:
        """Ask this queue no more; what it gives to a pull that is on its way is taken."""
        self._workers.leave_line(puller.name)
        with self._lock:
            self._line = [each for each in self._line if each.puller is not puller]

    def step(self, now: float) -> float:
        """Ask the first queue that nobody is at; return when to come again. Called by each loop."""
        if not takes_work(self._context):
            return now + IDLE
        if not self._workers.free(IDLE):
            return now
        if not room_now(self._context):
            return now
        now = self._context.clock.boottime()  # it may have been a while until a worker was free
        first = self._take(now)
        if first is None:
            return now + IDLE
        due = first.puller.turn(now, self._longest(first))
        self._put_back(first, due)
        # A server that is away fails the pulls of all queues at once.
        return self._context.clock.boottime() + (IDLE if first.puller.gave is Gave.FAILURE else 0.0)

    def found_nothing_since(self, events: int) -> bool:
        """Say whether of all queues a pull that began after the board's event number `events` found nothing."""
        with self._lock:
            return all(each.puller.found_nothing_since(events) for each in self._line)

    def _take(self, now: float) -> _InLine | None:
        with self._lock:
            free = self._workers.free_now()
            room = free - sum(1 for each in self._line if each.asked and each.has_more)
            for each in self._line:
                ready = not each.asked and each.due <= now and (room > 0 or not each.has_more)
                if ready and self._workers.its_turn_now(each.puller.name, free):
                    each.asked = True
                    return each
            return None

    def _longest(self, place: _InLine) -> float:
        """Return for how many seconds a pull may block: nobody waits for a loop where each queue has one."""
        if place.has_more:
            return BACKLOG_PULL
        return math.inf if len(self._line) <= TURN_LOOPS else TURN_PULL

    def _put_back(self, place: _InLine, due: float) -> None:
        in_vain = place.puller.gave is Gave.SURPLUS
        with self._lock:
            place.asked = False
            # Twice the delay: what was given back may take that long to be there again.
            place.due = max(due, self._context.clock.boottime() + 2 * SURPLUS_DELAY) if in_vain else due
            if place in self._line:
                self._line.remove(place)
                self._line.insert(0 if in_vain else len(self._line), place)
