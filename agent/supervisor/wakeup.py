"""Signals as something to poll for: a pipe gets the number of every signal that arrives."""

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


class Wakeup:
    """Takes over `numbers`, ignores those that concern nobody without a terminal, and unblocks all signals.

    Blocked until now (as between a fork and this), none is lost.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self.fd, writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        for number in numbers:
            signal.signal(number, _noted)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def take(self) -> set[int]:
        """The signals that arrived since the last call."""
        try:
            return set(os.read(self.fd, 4096))
        except BlockingIOError:
            return set()

    def wait(self, seconds: float) -> None:
        """Sleep, a signal ends it early; signals taken here count as seen."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(seconds * 1000)
        self.take()


def _noted(_number: int, _frame: object) -> None:
    """The wake-up pipe has the number already; a handler must exist for the pipe to be written."""


def block_all() -> None:
    """Hold all signals back, for the moment of a fork: the child is to meet them with its own handlers."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())


def unblock_all() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
