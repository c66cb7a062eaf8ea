"""A host that fails one job after another before they start takes no more work until a container of its own runs."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from agent.attempt import Ending
from agent.board import Live, Mode
from agent.context import Context
from agent.errors import EdgeAgentError, HostFault
from agent.model.records import Outcome
from agent.model.run import ContainerRun
from agent.ports import Runtime

log = logging.getLogger(__name__)

FAULTY_AFTER = 3  # jobs in a row
_RAN = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY)
LOOK = 2.0
IMAGE = "canary.sif"
CANARY_TIMEOUT = 30.0


def failed_in_a_row(ended: tuple[Live, ...]) -> set[str]:
    """Return the jobs among the attempts (oldest first) that failed in set-up since one got further than that.

    A job that ended while it was staged (its own fault, cancelled, expired) shows nothing of the host, good or bad.
    """
    sids: set[str] = set()
    for live in reversed(ended):
        ending = live.attempt.ending
        if ending is not None and ending.outcome is Outcome.SETUP_FAILED:
            sids.add(live.attempt.sid)
        elif ending is not None and _ran(ending):
            break
    return sids


def _newest_reason(ended: tuple[Live, ...]) -> str | None:
    endings = (live.attempt.end for live in reversed(ended))
    return next(ending.reason for ending in endings if ending.outcome is Outcome.SETUP_FAILED)


def _ran(ending: Ending) -> bool:
    """A container that was cancelled may have been cancelled before it was up."""
    return ending.usage is not None and ending.outcome in _RAN


class Canary:
    """Watches the ends of attempts; `run` runs a tiny container and raises EdgeAgentError when that fails."""

    def __init__(self, context: Context, run: Callable[[], object]) -> None:
        self._context = context
        self._run = run
        self._excused: frozenset[str] = frozenset()
        self._is_faulty = False
        self._failures = 0
        self._try_at = 0.0

    def step(self, now: float) -> float:
        """Pause the host when it is faulty, and try it with growing pauses while it is."""
        board = self._context.board
        if self._is_faulty and board.mode.name != "faulty":
            self._excuse()  # the operator has looked after it
        if board.mode.name == "ready":
            recent = tuple(live for live in board.ended() if live.attempt.id not in self._excused)
            failed = failed_in_a_row(recent)
            if len(failed) >= FAULTY_AFTER:
                reason = f"{len(failed)} jobs in a row could not be set up: {_newest_reason(recent)}"
                board.set_mode(Mode("faulty", reason, self._context.clock.time()))
                log.error("host is faulty", extra={"event": "host-faulty", "reason": reason})
        self._is_faulty = board.mode.name == "faulty"
        if self._is_faulty and now >= self._try_at:
            self._try_at = now + self._try()
        return now + LOOK

    def _excuse(self) -> None:
        """Count no failure any more of an attempt that is here now."""
        board = self._context.board
        self._excused = frozenset(live.attempt.id for live in (*board.live(), *board.ended()))
        self._failures, self._try_at, self._is_faulty = 0, 0.0, False

    def _try(self) -> float:
        """Run the canary; return the seconds to the next try."""
        try:
            self._run()
        except EdgeAgentError as error:
            self._failures += 1
            log.warning("canary container fails", extra={"event": "canary-failed", "reason": str(error)})
            return self._context.back_off.delay(self._failures, self._context.random())
        self._excuse()
        if self._context.board.mode.name == "faulty":  # an operator may have paused it while the container ran
            self._context.board.set_mode(Mode("ready", None, self._context.clock.time()))
        log.info("canary container runs again", extra={"event": "canary-passed"})
        return 0.0


def run_canary(runtime: Runtime, state_dir: Path, build_image: Callable[[Path], None], name: str = IMAGE) -> str:
    """Run a tiny image and return its log: what the kernel says there of a process, besides words of the runtime.

    `build_image` makes the image when it is not there yet. Raises EdgeAgentError on failure.

    name: of the image in the state directory. One that is a directory runs without a container, as any such image.
    """
    image = state_dir / name
    if not image.exists():
        build_image(image)
    attempt_id = f"canary.{secrets.token_hex(8)}"
    directory = state_dir / "attempts" / attempt_id
    try:
        for name in ("work", "tmp"):
            (directory / name).mkdir(parents=True)
        runtime.start(_canary_run(attempt_id, directory, image))
        status = runtime.status(attempt_id, timeout=2 * CANARY_TIMEOUT)
        if status.exit is None or status.exit.exit_code != 0 or not status.exit.started:
            if image.is_file():
                image.unlink()  # it may be what is broken: the next try builds another one
            raise HostFault(f"the canary container ended as {status.phase}: {_last_line(directory / 'log')}")
        return (directory / "log").read_text(errors="replace")
    except OSError as error:
        raise HostFault(f"the canary's directory {directory}: {error.strerror}") from None
    finally:
        runtime.remove(attempt_id)
        shutil.rmtree(directory, ignore_errors=True)


def _canary_run(attempt_id: str, directory: Path, image: Path) -> ContainerRun:
    return ContainerRun(
        attempt_id=attempt_id,
        directory=directory,
        image=image,
        command=("cat", "/proc/self/status"),
        env={},
        home=directory / "work",
        workdir=".",
        network="none",
        cpus=1.0,
        memory=64 * 1024**2,
        timeout=CANARY_TIMEOUT,
        grace=1.0,
        log=directory / "log",
    )


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines() if log_file.exists() else []
    return lines[-1] if lines else "it printed nothing"
