"""What probes ask a host for besides files, and how a probe says that something is wrong.

QUERIES (name: meaning; type). A host that cannot know the answer gives None.
"""

from __future__ import annotations

import re
from typing import Any

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
    "nvpmodel": "what `nvpmodel -q` prints; str (asked on Jetsons whose files do not tell the power mode)",
    "throttled": "what `vcgencmd get_throttled` prints; str (asked on a Raspberry Pi whose sysfs does not tell it)",
    "dev-nodes": "paths of the device nodes of GPUs; tuple[str, ...]",
    "denied-nodes": "those of them that this user, in this cgroup, may not open; tuple[str, ...]",
    "nvml": "what NVML answers, in the form of `python -m agent.nvml`; dict (asked where there is a sign of NVIDIA)",
    "runtime-elf": "the first bytes of the container runtime's program file; bytes",
    "aarch32": "whether the kernel, on this CPU, runs 32-bit programs of Arm; bool (arm64 only)",
    "runtime-version": 'what the container runtime answers to --version; str, "" where there is known to be none',
    "uid": "effective user id of this process; int",
    "setuid-starter": "whether the runtime has a setuid starter of root's; bool",
    "fuse": 'the error of opening /dev/fuse for reading and writing ("ENOENT"), "" where it can be opened; str',
    "unshare": 'what `unshare --user` complains of, "" when it works; str (asked of plain users in containers)',
    "limits-test": (
        'how far setting limits on a group of jobs came; dict: step is "done" or the one that failed (tree, '
        "controllers, make, type, kill, enable, write), with path, error and the missing controllers"
    ),
}
_MOST_CPUS = 1 << 16  # far above NR_CPUS: a broken file must not fill the memory


class ProbeProblem(EdgeAgentError):
    """A probe has no answer, for a reason that somebody can do something about."""

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(message)


class AskedOnce:
    """A host whose queries are asked once, however many probes want the answer: some start a program."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._answers: dict[str, Any] = {}
        self.read = host.read
        self.list = host.list

    def query(self, name: str) -> Any:
        """See ports.Host."""
        if name not in self._answers:
            self._answers[name] = self._host.query(name)
        return self._answers[name]


def read_text(host: Host, path: str) -> str | None:
    """Return the stripped text of a small file; None when it is absent."""
    content = host.read(path)
    return None if content is None else content.decode(errors="replace").strip("\0 \t\r\n")


def read_int(host: Host, path: str) -> int | None:
    """Return the number in a file; None when it is absent or holds something else."""
    text = read_text(host, path)
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,20}", text) else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the CPU numbers of the kernel's list form: "0,3-5" is 0, 3, 4 and 5. Raises ValueError."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first)
        if end - start >= _MOST_CPUS:
            raise ValueError(f"{part} is no list of CPUs or nodes: the kernel has at most {_MOST_CPUS}")
        numbers.update(range(start, end + 1))
    return frozenset(numbers)
