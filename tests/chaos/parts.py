"""The real parts of a run: servers, the links to them, and hosts with the installed command."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

import psutil
from agent.adapters.journal import SqliteJournal

from tests.e2e.site import READY, Site
from tests.proxy import Proxy

STATE_SIZE = "64m"
_FRAMES = 6  # lines of a traceback that are shown
_STOP_SECONDS = 60.0  # an agent that detaches finishes what it saves


def build_clock(target: Path) -> None:
    """Build the library that gives an agent a clock of its own; see clock.c."""
    compiler = shutil.which("cc")
    assert compiler is not None, "cc is missing; packaging/install-test-tools.sh installs it"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", target, source], check=True)


class Link:
    """The way from one host to one server; what was done to it by several holds as long as one of them wants it."""

    def __init__(self, port: int) -> None:
        self._proxy = Proxy(port)
        self._lock = threading.Lock()
        self._faults: dict[object, tuple[str, float]] = {}
        self.port = self._proxy.port

    def disturb(self, who: object, kind: str, size: float = 0.0) -> None:
        """Let it be cut, silent or slow (by `size` seconds a piece of data)."""
        with self._lock:
            self._faults[who] = (kind, size)
            self._act(kind, size)

    def repair(self, who: object) -> None:
        """End what `who` did."""
        with self._lock:
            self._faults.pop(who, None)
            self._proxy.restore()
            for kind, size in self._faults.values():
                self._act(kind, size)

    def close(self) -> None:
        """End it."""
        self._proxy.close()

    def _act(self, kind: str, size: float) -> None:
        if kind == "cut":
            self._proxy.cut()
        elif kind == "silent":
            self._proxy.silence()
        else:
            self._proxy.delay(size)


class Host:
    """A host: a state directory of limited size, a clock of its own, and an agent that its service manager restarts."""

    def __init__(self, site: Site, links: Sequence[Link]) -> None:
        self.site = site
        self.links = tuple(links)
        self.exits: list[tuple[int, str]] = []
        self._clock = site.folder / "clock"
        self._clock_library = site.folder / "clock.so"
        build_clock(self._clock_library)
        self._lock = threading.Lock()
        self._wanted = False
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = (site.folder / "agent.log").open("ab")
        self.set_clock(0.0)
        self._manager = threading.Thread(target=self._manage, name=f"manager of {site.folder.name}", daemon=True)
        self._manager.start()

    # --- the agent ---

    def start(self) -> None:
        """Start the agent, and again whenever it ends."""
        with self._lock:
            self._wanted = True
            self._launch()

    def is_up(self) -> bool:
        """Say whether an agent has come up since the host was made."""
        return READY in self.site.agent_log()

    def kill(self) -> None:
        """Kill the agent, which does not come back before `start`."""
        with self._lock:
            self._wanted = False
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def detach(self) -> None:
        """Stop the agent, its jobs run on."""
        with self._lock:
            self._wanted = False
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.exits.append((-1, f"it did not stop within {_STOP_SECONDS:g} s"))
                self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send the agent a signal, if it runs."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def _launch(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        own_clock = {"LD_PRELOAD": str(self._clock_library), "CHAOS_CLOCK": str(self._clock)}
        argv = self.site.argv("run", "--service")
        environment = {**os.environ, **own_clock}
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self._log, env=environment)

    def _manage(self) -> None:
        """Do what `Restart=always` does, and note why."""
        while not self._closing.wait(0.5):
            with self._lock:
                if self._wanted and self._process is not None and self._process.poll() is not None:
                    last = self.site.agent_log().splitlines()[-1:]
                    self.exits.append((self._process.returncode, "".join(last)))
                    self._launch()

    # --- what is done to it ---

    def set_clock(self, seconds: float) -> None:
        """Let the agent's clock be so far ahead."""
        self._clock.touch()
        with self._clock.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", round(seconds * 1e9)))

    def fill_disk(self) -> None:
        """Leave no room in the state directory."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)

    def free_disk(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.site.state / "filler"

    def kill_one(self, name: str, choice: float) -> bool:
        """Kill the holder or a waiter, by its name; False when there is none. choice, in [0, 1), says which one."""
        found = sorted(self._supervisors(name), key=lambda each: each.pid)
        if not found:
            return False
        with suppress(psutil.NoSuchProcess):
            found[int(choice * len(found))].kill()
        return True

    def _supervisors(self, name: str) -> Iterator[psutil.Process]:
        mark = str(self.site.state)
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.info["name"] == name and any(mark in word for word in process.cmdline()):
                    yield process

    # --- what is left ---

    def pending(self) -> list[str]:
        """Return what the journal of a stopped agent still remembers."""
        file = self.site.state / "journal.sqlite"
        if not file.exists():
            return []
        journal = SqliteJournal(file)
        try:
            return [f"journal entry {key}" for key in journal.load()]
        finally:
            journal.close()

    def leftovers(self) -> list[str]:
        """Return processes, mounts, groups, files and records of attempts that are still there."""
        own = f" {self.site.state} "  # the mount of the state directory itself
        found = [each for each in (*self.site.leftovers(), *self.pending()) if own not in each]
        return [f"{self.site.folder.name}: {each}" for each in found]

    def is_busy(self) -> bool:
        """Say whether an attempt is on its way here."""
        attempts = self.site.state / "attempts"
        return attempts.exists() and any(attempts.iterdir())

    def processes(self) -> list[str]:
        """Return the processes, of whatever kind, that know the state directory."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(str(self.site.state) in word for word in process.cmdline()):
                    found.append(f"{self.site.folder.name}: process {process.pid} {process.name()}")
        return found

    def unforeseen(self) -> list[str]:
        """Return what the log says about errors that nobody foresaw."""
        return [f"{self.site.folder.name}: {each}" for each in unforeseen(self.site.agent_log())]

    def close(self) -> None:
        """End everything."""
        self._closing.set()
        self._manager.join()
        self.kill()
        self.site.end()
        self._log.close()
        for link in self.links:
            link.close()


def unforeseen(log: str) -> Iterator[str]:
    """Give the errors in a log that nobody foresaw, each with the place that it comes from."""
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if "internal-error" in line or "Traceback" in line:
            inside = list(takewhile(lambda each: each.startswith(" "), lines[number + 1 :]))
            yield "\n".join([line, *inside[-_FRAMES:], *lines[number + 1 + len(inside) :][:1]])


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of its own at `place`."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STATE_SIZE}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
