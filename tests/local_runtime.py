"""A Runtime without containers: plain local processes, for tests that need no isolation."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO

import psutil
from agent.ports import ABSENT, LOST, RUNNING, ContainerRun, Exit, RunStatus


class LocalRuntime:
    """A Runtime that runs the command as a plain local process, without a container.

    Without a command the image is run: an executable file. As with Apptainer, an image that is not there is a
    failed set-up, a command that cannot be run ends with 255, and a payload killed by signal S with 128 + S.
    Limits and network are not enforced, and secrets stay in their directory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _LocalProcess] = {}

    def start(self, run: ContainerRun) -> None:
        with self._lock:
            if run.attempt_id not in self._running:
                self._running[run.attempt_id] = _LocalProcess(run)

    def status(self, attempt_id: str, timeout: float = 0.0) -> RunStatus:
        process = self._find(attempt_id)
        return ABSENT if process is None else process.status(timeout)

    def stop(self, attempt_id: str, why: str, grace: float) -> None:
        process = self._find(attempt_id)
        if process is not None:
            process.stop(why, grace)

    def remove(self, attempt_id: str) -> None:
        with self._lock:
            process = self._running.pop(attempt_id, None)
        if process is not None:
            process.lose()

    def lose(self, attempt_id: str) -> None:
        """Kill the attempt so that nobody sees its end, as a reboot or a killed waiter does."""
        process = self._find(attempt_id)
        assert process is not None, f"{attempt_id} was never started"
        process.lose()

    def close(self) -> None:
        """End everything."""
        with self._lock:
            processes = tuple(self._running.values())
        for process in processes:
            process.lose()

    def _find(self, attempt_id: str) -> _LocalProcess | None:
        with self._lock:
            return self._running.get(attempt_id)


class _LocalProcess:
    """One started attempt: a process group, the thread that waits for it, the timers of its stop ladder."""

    def __init__(self, run: ContainerRun) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._why: str | None = None
        self._lost = False
        self._exit: Exit | None = None
        self._timers: list[threading.Timer] = []
        self._started_at = time.time()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._launch(run)

    def status(self, timeout: float) -> RunStatus:
        if not self._over.wait(timeout):
            return RUNNING
        return LOST if self._lost else RunStatus("exited", self._exit)

    def stop(self, why: str, grace: float) -> None:
        with self._lock:
            if self._over.is_set():
                return
            self._why = self._why or why
            self._signal(signal.SIGTERM)
            self._after(grace, self._signal, signal.SIGKILL)

    def lose(self) -> None:
        with self._lock:
            if not self._over.is_set():
                self._lost = True
                self._signal(signal.SIGKILL)
        if self._thread is not None:
            self._thread.join()

    def _launch(self, run: ContainerRun) -> None:
        if not run.image.exists():
            self._end(Exit(None, None, "exited", False, None, time.time(), f"{run.image}: no such image"))
            return
        with run.log.open("ab") as log:
            try:
                self._process = _popen(run, log)
            except OSError as error:
                log.write(f"{error}\n".encode())
                self._end(Exit(255, None, "exited", True, self._started_at, time.time()))
                return
        self._thread = threading.Thread(target=self._wait, args=(self._process,), daemon=True)
        if run.timeout is not None:
            self._after(run.timeout, self.stop, "timeout", run.grace)
        self._thread.start()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        self._end_group(process.pid)
        with self._lock:
            exit_code = 128 - code if code < 0 else code
            self._end(Exit(exit_code, None, self._why or "exited", True, self._started_at, time.time()))

    def _end_group(self, group: int) -> None:
        """Kill what the command left behind in its group; it takes a moment until that is gone."""
        deadline = time.monotonic() + 5.0
        while _lives(group) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            threading.Event().wait(0.002)

    def _end(self, ended: Exit) -> None:
        for timer in self._timers:
            timer.cancel()
        self._exit = ended
        self._over.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # the group is empty
                os.killpg(self._process.pid, number)

    def _after(self, seconds: float, action: Callable[..., None], *values: object) -> None:
        timer = threading.Timer(seconds, action, values)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


def _lives(group: int) -> bool:
    """Say whether a process of the group runs; one that nobody has collected yet does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False


def _popen(run: ContainerRun, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        run.command or (str(run.image),),
        cwd=run.home / run.workdir,
        env={"PATH": os.defpath, **run.env},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
