"""What probes ask a host for besides files, and how a probe says that something is wrong.

QUERIES (name: meaning; type). A host that cannot know the answer gives None.
"""

from __future__ import annotations

from agent.errors import EdgeAgentError
from agent.ports import Host

QUERIES = {
    "uname-m": "machine name of the kernel; str",
    "uname-r": "release of the kernel; str",
    "elf": "the first bytes of this process's own program file; bytes",
    "dpkg-architecture": "Debian's name of the userland; str (recorded hosts only: a process has its ELF)",
    "long-bit": "bits of a long integer in the userland; int (recorded hosts, likewise)",
    "affinity": "numbers of the CPUs that this process may run on; tuple[int, ...]",
    "page-size": "bytes in a page of memory; int",
    "statvfs": "file system of the state directory; (path: str, total bytes: int, free bytes: int)",
    "runtime-version": 'what the container runtime answers to --version; str, "" where there is known to be none',
}


class ProbeProblem(EdgeAgentError):
    """A probe has no answer, for a reason that somebody can do something about."""

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(message)


def read_text(host: Host, path: str) -> str | None:
    """Return the stripped text of a small file; None when it is absent."""
    content = host.read(path)
    return None if content is None else content.decode(errors="replace").strip("\0 \t\r\n")


def read_int(host: Host, path: str) -> int | None:
    """Return the number in a file; None when it is absent or holds something else."""
    text = read_text(host, path)
    return int(text) if text and text.lstrip("-").isdecimal() else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the CPU numbers of the kernel's list form: "0,3-5" is 0, 3, 4 and 5. Raises ValueError."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
