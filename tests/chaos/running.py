"""One run: jobs come, things go wrong as scheduled, all gets well again, and then it is looked at what is left."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
from agent.errors import EdgeAgentError, Unavailable

from tests.chaos import labs
from tests.chaos.checker import NOTHING, violations
from tests.chaos.jobs import EXPECTED, WEIGHTS, table
from tests.chaos.labs import Lab
from tests.chaos.parts import Host
from tests.chaos.schedule import Fault, Task, faults, tasks
from tests.chaos.witness import Witness
from tests.waiting import wait_until

_AGAIN = 0.5  # seconds between two tries of a submitter
_LOOKS = 60  # jobs that one look asks the stores for
_CLEAN_SECONDS = 20.0
_UP_SECONDS = 120.0
_VICTIM_SECONDS = 5.0  # for which a fault waits until there is a process to kill


class Plan(msgspec.Struct, frozen=True):
    """What a run is made of. seconds: in which jobs come and things go wrong; patience: seconds for the rest of it."""

    seed: int
    queue: str
    jobs: int
    hosts: int
    seconds: float
    patience: float

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The jobs."""
        return tasks(self.seed, WEIGHTS, self.jobs, self.seconds)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What goes wrong."""
        lab = labs.LABS[self.queue]
        return faults(self.seed, lab.kinds, self.hosts, self.seconds, lab.lease)


class Report(msgspec.Struct, frozen=True):
    """What came of a run. ended: agents that ended by themselves, with their status and last line; took in seconds."""

    plan: Plan
    took: float
    faults: dict[str, int]
    attempts: int
    results: dict[str, int]
    ended: tuple[str, ...]
    violations: tuple[str, ...]


class Run:
    """A run in a lab."""

    def __init__(self, plan: Plan, lab: Lab, witness: Witness, told: Callable[[str], None]) -> None:
        """told: is called with a sentence about how far it is."""
        self._plan, self._lab, self._witness, self._tell = plan, lab, witness, told
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._failed: list[str] = []
        self._done: Counter[str] = Counter()
        self._tokens: dict[str, list[str]] = {}
        self._submitted = {task.sid: threading.Event() for task in plan.tasks}
        self._lock = threading.Lock()

    def go(self) -> Report:
        """Do all of it."""
        for host in self._lab.hosts:
            host.start()
        for host in self._lab.hosts:
            wait_until(host.is_up, _UP_SECONDS, f"the agent of {host.site.folder.name} is up")
        self._began = time.monotonic()
        threads = [*self._fault_threads(), self._thread("submitter", self._submit_all), *self._cancel_threads()]
        try:
            for thread in threads:
                thread.start()
            self._wait(threads)
        finally:
            self._stop.set()
            for submitted in self._submitted.values():
                submitted.set()
            for thread in threads:
                thread.join()
        return self._look()

    # --- what is done, each lane in a thread ---

    def _thread(self, name: str, task: Callable[..., None], *values: object) -> threading.Thread:
        def run() -> None:
            try:
                task(*values)
            except (AssertionError, OSError, EdgeAgentError) as error:
                with self._lock:
                    self._failed.append(f"the run itself: {name}: {error!r}")

        return threading.Thread(target=run, name=name, daemon=True)

    def _fault_threads(self) -> list[threading.Thread]:
        ordered = sorted(self._plan.faults, key=lambda fault: (str(fault.lane), fault.at))
        lanes = groupby(ordered, key=lambda fault: fault.lane)
        return [self._thread(f"faults of {lane}", self._disturb, tuple(found)) for lane, found in lanes]

    def _disturb(self, planned: Sequence[Fault]) -> None:
        for fault in planned:
            if self._rest_until(fault.at):
                return
            done = self._begin(fault)
            with self._lock:
                self._done[fault.kind] += done
            self._rest_until(fault.until)
            self._end(fault)

    def _begin(self, fault: Fault) -> bool:
        if fault.host is None:
            self._lab.begin(fault)
            return True
        host = self._lab.hosts[fault.host]
        if fault.kind in ("holder-kill", "waiter-kill"):
            return self._find_and_kill(host, f"edge-{fault.kind.removesuffix('-kill')}", fault.at % 1)
        for link in host.links if fault.kind.startswith("link-") else ():
            link.disturb(fault, fault.kind.removeprefix("link-"), fault.size)
        beginnings: dict[str, Callable[[], None]] = {
            "agent-kill": host.kill,
            "agent-detach": host.detach,
            "agent-freeze": lambda: host.signal(signal.SIGSTOP),
            "disk-full": host.fill_disk,
            "clock-jump": lambda: host.set_clock(fault.size),
        }
        beginnings.get(fault.kind, lambda: None)()
        return True

    def _find_and_kill(self, host: Host, name: str, choice: float) -> bool:
        until = time.monotonic() + _VICTIM_SECONDS
        while not host.kill_one(name, choice):
            if time.monotonic() > until or self._stop.wait(0.05):
                return False
        return True

    def _end(self, fault: Fault) -> None:
        if fault.host is None:
            self._lab.end(fault)
            return
        host = self._lab.hosts[fault.host]
        for link in host.links if fault.kind.startswith("link-") else ():
            link.repair(fault)
        endings: dict[str, Callable[[], None]] = {
            "agent-kill": host.start,
            "agent-detach": host.start,
            "agent-freeze": lambda: host.signal(signal.SIGCONT),
            "disk-full": host.free_disk,
            "clock-jump": lambda: host.set_clock(0.0),
        }
        endings.get(fault.kind, lambda: None)()

    def _submit_all(self) -> None:
        for task in self._plan.tasks:
            if self._rest_until(task.at):
                return
            image = self._lab.image.as_uri()
            job = table(task, image, self._witness.port, self._lab.published)
            self._insist(lambda task=task, job=job: self._lab.submit(task, job))  # type: ignore[misc]
            self._submitted[task.sid].set()

    def _cancel_threads(self) -> list[threading.Thread]:
        return [self._thread(f"cancel {t.sid}", self._cancel, t) for t in self._plan.tasks if t.kind == "cancelled"]

    def _cancel(self, task: Task) -> None:
        self._submitted[task.sid].wait()
        if not self._stop.wait(task.cancel_after):
            self._insist(lambda: self._lab.cancel(task.sid))

    def _insist(self, act: Callable[[], None]) -> None:
        """Try until it is done: a store may be away."""
        while not self._stop.is_set():
            try:
                act()
            except Unavailable:
                self._stop.wait(_AGAIN)
            else:
                return

    def _rest_until(self, moment: float) -> bool:
        """Wait until so many seconds after the start; True when the run is over before."""
        return self._stop.wait(max(0.0, self._began + moment - time.monotonic()))

    # --- waiting for the end ---

    def _wait(self, threads: Iterable[threading.Thread]) -> None:
        """Return when all jobs are where they must be, and nothing goes wrong any more; or after the patience."""
        until = self._began + self._plan.seconds + self._plan.patience
        open_ = {task.sid: task for task in self._plan.tasks if EXPECTED[task.kind].place != "queue"}
        while time.monotonic() < until and (open_ or self._is_busy(threads)):
            for sid in self._settled(list(open_.values())[:_LOOKS]):
                del open_[sid]
            for task in [open_.pop(sid) for sid in list(open_)[:_LOOKS]]:
                open_[task.sid] = task  # to the end: all get their turn
            self._tell(f"{len(self._plan.tasks) - len(open_)} of {len(self._plan.tasks)} jobs are over")
            self._stop.wait(0.5)
        quiet = max([fault.until for fault in self._plan.faults], default=0.0) + self._lab.settles_within
        self._rest_until(min(quiet, until - self._began))

    def _is_busy(self, threads: Iterable[threading.Thread]) -> bool:
        """Say whether something still goes wrong, or a host has something of an attempt that others overtook."""
        return any(thread.is_alive() for thread in threads) or any(host.is_busy() for host in self._lab.hosts)

    def _settled(self, asked: Sequence[Task]) -> list[str]:
        try:
            waiting = self._lab.in_queue()
            return [task.sid for task in asked if self._is_over(task) and task.sid not in waiting]
        except (EdgeAgentError, OSError):
            return []  # a store is away

    def _is_over(self, task: Task) -> bool:
        commit = self._lab.results.committed(task.sid)
        if commit is not None:
            self._tokens.setdefault(task.sid, []).append(commit.token)
        return commit is not None or self._lab.dead(task.sid) is not None

    # --- what is left ---

    def _look(self) -> Report:
        for host in self._lab.hosts:
            host.detach()
        left = self._wait_clean(lambda host: host.leftovers())
        for host in self._lab.hosts:
            host.site.end()
        left += self._wait_clean(lambda host: host.processes())
        waiting = self._lab.take_all({t.sid for t in self._plan.tasks if EXPECTED[t.kind].place == "queue"})
        facts = {t.sid: self._lab.facts(t, self._tokens.get(t.sid, ()), waiting) for t in self._plan.tasks}
        for sid in {*self._lab.results.sids(), *waiting} - set(facts):
            facts[sid] = NOTHING
        found = violations(self._plan.tasks, facts, self._witness.told(), left)
        unforeseen = [line for host in self._lab.hosts for line in host.unforeseen()]
        return Report(
            plan=self._plan,
            took=round(time.monotonic() - self._began, 1),
            faults=dict(sorted(self._done.items())),
            attempts=sum(len(each.attempts) for each in facts.values()),
            results=dict(Counter(each.commit.outcome.value for each in facts.values() if each.commit)),
            ended=tuple(f"{h.site.folder.name}: {code}: {last}" for h in self._lab.hosts for code, last in h.exits),
            violations=(*self._failed, *found, *unforeseen),
        )

    def _wait_clean(self, look: Callable[[Host], list[str]]) -> list[str]:
        """Return what a look at the hosts still finds a while after the agents stopped."""
        until = time.monotonic() + _CLEAN_SECONDS
        while True:
            left = [each for host in self._lab.hosts for each in look(host)]
            if not left or time.monotonic() > until:
                return left
            threading.Event().wait(0.5)


def go(plan: Plan, folder: Path, image: Path, tools: Path, told: Callable[[str], None] = lambda text: None) -> Report:
    """Do a run below `folder`. tools: where packaging/install-test-tools.sh keeps the servers' programs."""
    witness = Witness(folder / "witness")
    try:
        with labs.opened(plan.queue, folder, image, tools, plan.hosts) as lab:
            return Run(plan, lab, witness, told).go()
    finally:
        witness.close()
