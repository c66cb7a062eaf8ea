"""Processes as /proc shows them: who they are, if they still live, and how to signal exactly them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Identity(namedtuple("Identity", "pid starttime")):
    """A process that cannot be mistaken for a later one with the same number (within one boot).

    `starttime` is field 22 of /proc/PID/stat, in clock ticks since boot.
    """

    __slots__ = ()
    pid: int
    starttime: int


class Stat(namedtuple("Stat", "pid ppid session state threads starttime rss_bytes")):
    """One process of a scan; the fields of proc(5) that decide to which job it belongs."""

    __slots__ = ()
    pid: int
    ppid: int
    session: int
    state: str
    threads: int
    starttime: int
    rss_bytes: int

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.starttime)

    @property
    def dead(self) -> bool:
        """Ended and not reaped. A leader that ended before its other threads also shows Z, but lives on."""
        return self.state in "ZXx" and self.threads <= 1


def parse_stat(text: bytes) -> Stat:
    """Read /proc/PID/stat as in proc(5); the command's name in it may hold blanks and parentheses."""
    head, _, tail = text.rpartition(b")")
    field = tail.split()
    return Stat(
        pid=int(head.split(b" ", 1)[0]),
        ppid=int(field[1]),
        session=int(field[3]),
        state=field[0].decode("ascii"),
        threads=int(field[17]),
        starttime=int(field[19]),
        rss_bytes=int(field[21]) * PAGE_BYTES,
    )


def read_stat(pid: int) -> Stat | None:
    """The process with this number, or None when there is none or it is hidden (hidepid)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def scan() -> list[Stat]:
    """Every process this one may see."""
    return list(_scan())


def _scan() -> Iterator[Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None:
                yield stat


def identify(pid: int) -> Identity:
    """The identity of a process that is known to exist. Raises ProcessLookupError when it does not."""
    stat = read_stat(pid)
    if stat is None:
        raise ProcessLookupError(f"process {pid} does not exist")
    return stat.identity


def alive(process: Identity) -> bool:
    stat = read_stat(process.pid)
    return stat is not None and stat.starttime == process.starttime and not stat.dead


def open_pidfd(process: Identity) -> int | None:
    """A pidfd of exactly this process, or None: it is gone, or the kernel (before 5.3) has no pidfds."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    if alive(process):
        return fd
    os.close(fd)
    return None


def send_signal(process: Identity, number: int) -> bool:
    """Signal exactly this process; False when it is gone or may not be signalled."""
    fd = open_pidfd(process)
    try:
        if fd is not None:
            signal.pidfd_send_signal(fd, number)
            return True
        if alive(process):  # no pidfds here: the number could be reused between this look and the kill
            os.kill(process.pid, number)
            return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return False


def boot_id(environ: Mapping[str, str] = os.environ) -> str:
    """The id of this boot.

    A unit with a /proc of its own is told it (BOOT_ID=%b, 32 digits): in a container of systemd or LXC that /proc shows
    the id of the host around it, another one than the processes outside the unit see.
    """
    told = environ.get("BOOT_ID", "")
    if len(told) == 32:
        return "-".join((told[:8], told[8:12], told[12:16], told[16:20], told[20:]))
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def become_subreaper() -> None:
    """Make this process the parent of every descendant whose own parent ends (Linux 3.4). Raises OSError."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot become the reaper of orphaned processes: {os.strerror(number)}")


def set_name(name: str) -> None:
    """The name ps shows (15 bytes at most)."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)
