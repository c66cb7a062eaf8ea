"""Start the job's process: forked at once, released when its run is recorded, never failing in silence."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections import namedtuple

from agent.supervisor import cgroups, processes
from agent.supervisor.protocol import rlimit_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from agent.supervisor.processes import Identity
    from agent.supervisor.protocol import Spec

_RELEASE = b"go"


class Child(namedtuple("Child", "process output gate failure")):
    """A forked child waiting at its gate: `output` is what it writes, `failure` why it did not start."""

    __slots__ = ()
    process: Identity
    output: int
    gate: int
    failure: int


def fork_child(spec: Spec) -> Child:
    """Fork the job's process in a session of its own; nothing of the job runs before `release`."""
    output, child_output = os.pipe()
    child_gate, gate = os.pipe()
    failure, child_failure = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate)
        _become_job(spec, child_output, child_gate, child_failure)
    for fd in (child_output, child_gate, child_failure):
        os.close(fd)
    os.set_blocking(output, False)
    return Child(processes.identify(pid), output, gate, failure)


def release(child: Child) -> None:
    """Let the child become the job; `failure` becomes readable when it has, or when it could not."""
    with contextlib.suppress(BrokenPipeError):  # it is dead already; its exit status tells
        os.write(child.gate, _RELEASE)
    os.close(child.gate)


def failure_of(child: Child) -> str | None:
    """Why the child could not become the job, None if it did: exec closes the other end without a word."""
    with open(child.failure, "rb") as failure:
        return failure.read().decode("utf-8", "replace") or None


def _become_job(spec: Spec, output: int, gate: int, failure: int) -> NoReturn:
    step = "leave the waiter's session"
    try:
        os.setsid()
        if os.read(gate, len(_RELEASE)) != _RELEASE:
            os._exit(127)  # the waiter died: nothing may run that no run.json tells of
        for name, act in _STEPS:
            step = name
            act(spec)
        step = "connect its output"
        _connect(output)
        step = f"execute {spec.argv[0]}"
        os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606 - a shell is what this must not be
    except (OSError, ValueError) as error:
        os.write(failure, f"cannot {step}: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _enter_cgroup(spec: Spec) -> None:
    for group in (spec.cgroup, *spec.limits.groups.values()):
        if group is not None:
            cgroups.enter(group)


def _limit(spec: Spec) -> None:
    for name, value in spec.rlimits.items():
        number = rlimit_number(name)
        if number is not None:
            _set_limit(number, value)


def _set_limit(number: int, value: int) -> None:
    """Set both limits; where a stricter hard limit stands that may not be raised, that one."""
    try:
        resource.setrlimit(number, (value, value))
    except ValueError:
        _, hard = resource.getrlimit(number)
        resource.setrlimit(number, (hard, hard))


def _prefer_for_oom(spec: Spec) -> None:
    if spec.oom_score_adj is not None:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(spec.oom_score_adj))


def _change_directory(spec: Spec) -> None:
    os.chdir(spec.cwd)


def _restore_signals(_spec: Spec) -> None:
    """What Python and the waiter changed would be inherited: SIGPIPE ignored, SIGTERM blocked."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


_STEPS = (
    ("enter its cgroup", _enter_cgroup),
    ("set its limits", _limit),
    ("set oom_score_adj", _prefer_for_oom),
    ("change to its working directory", _change_directory),
    ("restore the signals", _restore_signals),
)


def _connect(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
