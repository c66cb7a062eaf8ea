"""The running agent: recovers, starts its loops, and ends in one of two ways.

detach    (SIGTERM of a service)  no new work; containers run on under the holder; the next agent follows them
end       (Ctrl-C, SIGTERM)       containers are stopped, what they made is saved, their jobs are given back
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import msgspec

from agent.attempt import State
from agent.board import Mode
from agent.canary import Canary
from agent.context import Context
from agent.control.server import Server
from agent.discovery import Discovery, Project
from agent.errors import EXIT_FAILED, EXIT_UNAVAILABLE
from agent.gpu_sampling import GpuSampling
from agent.loops import Loops
from agent.outbox import Limit, Outbox, in_thread
from agent.patience import Patience
from agent.presence import Presence
from agent.pulling import TURN_LOOPS, Turns, Workers, pullers
from agent.recovery import recover
from agent.room import Room
from agent.supervisor.notify import READY, STOPPING
from agent.telling import Telling
from agent.watchdog import Watchdog
from agent.wishes import Wishes

log = logging.getLogger(__name__)

TURN = 0.1  # seconds between looks whether the work is done, with --until-empty
FIRST_LOOK = 5.0  # seconds that the first look for wishes from elsewhere may hold up the first pull


class Settings(msgspec.Struct, frozen=True):
    """How this run behaves. Durations in seconds.

    patience: how long a run until the queues are empty waits for servers that do not answer. outbox: what may wait.
    """

    workers: int
    pull_wait: float
    until_empty: bool = False
    detach: bool = False
    patience: float = 600.0
    outbox: Limit = Limit()


class Daemon:
    """One agent on one state directory."""

    def __init__(
        self,
        context: Context,
        settings: Settings,
        *,
        server: Server,
        presence: Presence,
        canary: Canary,
        end_containers: Callable[[], None],
        stop: threading.Event,
        mode: Mode,
        projects: Sequence[Project] = (),
        gpu_sampling: GpuSampling | None = None,
        room: Room | None = None,
        wishes: Wishes | None = None,
        telling: Telling | None = None,
        notify: Callable[[str], object] = lambda state: None,
        watchdog: float | None = None,
    ) -> None:
        """projects: those whose queues are found while the agent runs. room: None where no disk is watched.

        wishes: None = nobody elsewhere is heard. telling: None where there is no broker. notify: tells the service
        manager a state; watchdog: seconds within which it wants to hear of this agent.
        """
        self._context = context
        self._settings = settings
        self._server = server
        self._presence = presence
        self._canary = canary
        self._room = room
        self._end_containers = end_containers
        self._stop = stop
        self._mode = mode
        self._gpu_sampling = gpu_sampling
        self._wishes = wishes
        self._telling = telling
        self._workers = Workers(context, settings.workers)
        self._pullers = [
            puller
            for queue in context.queues.values()
            for puller in pullers(context, queue, self._workers, settings.pull_wait)
        ]
        self._turns = Turns(context, self._workers)
        self._discoveries = {each.name: Discovery(context, each, self._workers, self._turns) for each in projects}
        self._outbox = Outbox(context, settings.outbox, in_thread, stop.is_set)
        self._patience = Patience(context, settings.patience)
        self._loops = Loops(context.clock, stop)
        self._notify = notify
        self._watchdog = None if watchdog is None else Watchdog(self._loops, notify, watchdog)

    def run(self) -> int:
        """Run until a signal, or with until_empty until nothing is left that this host can run; the exit code.

        3 when it was left, since a queue or a store has not answered for as long as the patience lasts.
        """
        recovered = recover(self._context)
        self._context.leases.step(self._context.clock.boottime())
        for attempt in recovered:
            if attempt.state is State.STARTED:
                self._workers.carry_on(attempt)
            else:
                self._outbox.adopt(attempt)
        now = self._context.clock.time()
        self._context.board.set_mode(msgspec.structs.replace(self._mode, since=self._mode.since or now))
        self._start_loops()
        log.info("agent is ready", extra={"event": "agent-ready", "host": self._context.host_id})
        self._notify(READY)
        self._wait()
        self._notify(STOPPING)
        log.info("agent stops", extra={"event": "agent-stops", "detach": self._settings.detach})
        self._wind_down()
        if self._loops.died is not None:
            log.critical("a loop of the agent died", extra={"event": "loop-died", "loop": self._loops.died})
            return EXIT_FAILED
        return EXIT_UNAVAILABLE if self._patience.is_over else 0

    def _start_loops(self) -> None:
        threading.Thread(target=self._server.serve, name="control", daemon=True).start()
        if self._wishes is not None:
            # A host that was drained while it was off must not take a job first.
            self._loops.start("wishes", self._wishes.step)
            self._wishes.wait_looked(FIRST_LOOK)
        steps = {
            "leases": self._context.leases.step,
            "outbox": self._outbox.step,
            "profile": self._presence.profile_step,
            "state": self._presence.state_step,
            "canary": self._canary.step,
            **({} if self._gpu_sampling is None else {"gpu-use": self._gpu_sampling.step}),
            **({"room": self._room.step} if self._room is not None else {}),
            **({"streams": self._context.streams.step} if self._context.streams is not None else {}),
            **({"words": self._telling.step} if self._telling is not None else {}),
            **{f"pull-{index}": puller.step for index, puller in enumerate(self._pullers)},
            **{f"discover-{name}": discovery.step for name, discovery in self._discoveries.items()},
            **({f"turn-{index}": self._turns.step for index in range(TURN_LOOPS)} if self._discoveries else {}),
            **({} if self._watchdog is None else {"watchdog": self._watchdog.step}),
        }
        for name, step in steps.items():
            self._loops.start(name, step)

    def _wait(self) -> None:
        while not self._stop.wait(TURN if self._settings.until_empty else None):
            if self._is_done() or self._patience.ends():
                self._stop.set()

    def _is_done(self) -> bool:
        board = self._context.board
        if self._workers.busy() or board.live() or board.returning(self._context.clock.boottime()):
            return False
        return board.mode.name != "ready" or (board.mode.takes_work and self._found_nothing_since(board.events))

    def _found_nothing_since(self, events: int) -> bool:
        if not all(discovery.has_looked for discovery in self._discoveries.values()):
            return False
        return self._turns.found_nothing_since(events) and all(
            puller.found_nothing_since(events) for puller in self._pullers
        )

    def _wind_down(self) -> None:
        """End what is on its way. Saving results is not cut short: a worker that delivers is waited for."""
        if self._settings.detach:
            self._context.detaching.set()
        else:
            for live in self._context.board.live():
                self._context.board.ask_stop(live.attempt.id, "stopped")
        self._workers.join()
        self._loops.join()
        if self._gpu_sampling is not None:
            self._gpu_sampling.end()
        self._outbox.join()
        self._presence.leave()
        if self._wishes is not None:
            self._wishes.leave()
        self._server.close()
        if not self._settings.detach:
            self._end_containers()

    def handle_signals(self) -> None:
        """TERM and INT stop the agent, HUP makes it look at its host again. A second INT ends it at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, lambda *_: self._presence.look_again())

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set() and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self._stop.set()
