"""The Host port over this machine, and over a recorded one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.adapters.cgroup import try_limits
from agent.adapters.forms import FORMS, parse_table
from agent.adapters.isolation import fuse_error, has_setuid_starter, unshare_error
from agent.errors import Unavailable
from agent.probes.host import QUERIES, parse_cpu_list
from agent.probes.nvml import CRASHED
from agent.process import run

_MOST_BYTES = 4 * 1024**2  # no file that a probe reads comes near it; a FIFO or a log in its place must not fill memory
_CHUNK = 64 * 1024
_RUNTIMES = ("apptainer", "singularity")
_RUNTIME_TIMEOUT = 10.0
_TOOL_TIMEOUT = 2.0
_NVML_TIMEOUT = 10.0  # a busy driver takes seconds, on a Thor even an idle one
_WSL_LIBRARIES = "/usr/lib/wsl/lib"
_ASK_PERSONALITY, _PER_LINUX32 = 0xFFFFFFFF, 0x0008  # sys/personality.h
_GPU_NODES = ("nvidia*", "nvidia-caps/*", "nvhost-*", "nvmap", "nvgpu/*/*", "dxg")


class _Files:
    """Files below a root directory. Links are followed as they are: a recording contains none."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        """See ports.Host."""
        try:
            descriptor = os.open(self._below(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                return _read_all(file.read)
        except OSError:
            return None

    def list(self, path: str) -> tuple[str, ...]:
        """See ports.Host."""
        try:
            return tuple(sorted(entry.name for entry in self._below(path).iterdir()))
        except OSError:
            return ()

    def _below(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def _read_all(read: Callable[[int], bytes | None]) -> bytes:
    content = bytearray()
    while len(content) < _MOST_BYTES:
        chunk = read(min(_CHUNK, _MOST_BYTES - len(content)))
        if not chunk:
            break
        content += chunk
    return bytes(content)


def _ask(queries: dict[str, Callable[[], Any]], name: str) -> Any:
    if name not in QUERIES:
        raise KeyError(f"{name} is no query: see agent.probes.host.QUERIES")
    return queries[name]() if name in queries else None


class LiveHost(_Files):
    """This machine. `state_dir` is where storage is looked at; `runtime` replaces the search on PATH."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        state_dir: Path,
        runtime: Path | None = None,
        nvml: Sequence[str] = (sys.executable, "-m", "agent.nvml"),
        nvml_timeout: float = _NVML_TIMEOUT,
    ) -> None:
        super().__init__(root)
        self._nvml_command = nvml
        self._nvml_timeout = nvml_timeout
        self._state_dir = state_dir
        self._runtime = runtime
        self._answered: dict[tuple[str, int], str] = {}
        self._queries: dict[str, Callable[[], Any]] = {
            "uname-m": lambda: os.uname().machine,
            "uname-r": lambda: os.uname().release,
            "elf": lambda: _header(sys.executable),
            "affinity": lambda: tuple(sorted(os.sched_getaffinity(0))),
            "page-size": lambda: os.sysconf("SC_PAGE_SIZE"),
            "statvfs": lambda: _file_system(state_dir),
            "dev-nodes": lambda: _gpu_nodes(root),
            "denied-nodes": lambda: _denied(root, _gpu_nodes(root)),
            "nvml": self._nvml,
            "nvpmodel": lambda: _printed("nvpmodel", "-q"),
            "throttled": lambda: _printed("vcgencmd", "get_throttled"),
            "runtime-elf": lambda: _header(find_runtime(runtime)),
            "aarch32": lambda: runs_aarch32(os.uname().machine),
            "runtime-version": self._runtime_version,
            "uid": os.geteuid,
            "setuid-starter": lambda: has_setuid_starter(find_runtime(runtime)),
            "fuse": lambda: fuse_error(root / "dev/fuse"),
            "unshare": unshare_error,
            "limits-test": lambda: try_limits(state_dir),
        }

    def query(self, name: str) -> Any:
        """See ports.Host."""
        return _ask(self._queries, name)

    def _nvml(self) -> dict[str, Any]:
        """Return what NVML answers, asked in a child: a driver that hangs or crashes takes only that along."""
        try:
            done = run(self._nvml_command, self._nvml_timeout, nvml_environment())
        except Unavailable:
            return {"init": "Timeout"}
        return parse_table(done.out) or {"init": CRASHED}

    def _runtime_version(self) -> str:
        program = find_runtime(self._runtime)
        if program is None:
            return ""
        try:
            key = (program, Path(program).stat().st_mtime_ns)
            if key not in self._answered:
                done = run([program, "--version"], _RUNTIME_TIMEOUT)
                self._answered[key] = done.out + done.err or f"nothing, and ends with status {done.status}"
            return self._answered[key]
        except (Unavailable, OSError) as error:
            return str(error)


def find_runtime(configured: Path | None = None) -> str | None:
    """Return the path of the container runtime: the configured one, else Apptainer or Singularity on PATH."""
    names = _RUNTIMES if configured is None else (str(configured),)
    return next((path for path in map(shutil.which, names) if path), None)


def nvml_environment() -> dict[str, str]:
    """Return this process's environment; on WSL 2 Windows' own library comes before a stub that a package installed."""
    searched = os.environ.get("LD_LIBRARY_PATH")
    if Path(_WSL_LIBRARIES).is_dir():
        searched = f"{_WSL_LIBRARIES}:{searched}" if searched else _WSL_LIBRARIES
    chosen = {"LD_LIBRARY_PATH": searched} if searched else {}
    return {**os.environ, **chosen, "PYTHONSAFEPATH": "1"}


def _gpu_nodes(root: Path) -> tuple[str, ...]:
    device_folder = root / "dev"
    found = (node for pattern in _GPU_NODES for node in device_folder.glob(pattern))
    return tuple(sorted(f"/{node.relative_to(root)}" for node in found))


def _denied(root: Path, nodes: Iterable[str]) -> tuple[str, ...]:
    """Return the nodes that may not be opened: rights and the cgroup's rules for devices, without waking a device."""
    return tuple(node for node in nodes if not os.access(root / node.lstrip("/"), os.R_OK | os.W_OK))


def _printed(program: str, *arguments: str) -> str | None:
    """Return what a vendor's tool prints; None where there is no such tool, or it does not end in time."""
    path = shutil.which(program)
    try:
        return run([path, *arguments], _TOOL_TIMEOUT).out if path else None
    except Unavailable:
        return None


def _header(program: str | None) -> bytes | None:
    """Return the first bytes of a program's file."""
    try:
        with Path(program or os.devnull).open("rb") as file:
            return file.read(64) or None
    except OSError:
        return None


def runs_aarch32(machine: str) -> bool | None:
    """Say whether this kernel runs 32-bit programs of Arm, as lscpu finds it out; None on other machines (uname -m).

    A thread may take the personality of a 32-bit process only where such processes can run; it is given back at once.
    """
    if machine != "aarch64":
        return None
    import ctypes

    personality = ctypes.CDLL(None).personality
    personality.argtypes = (ctypes.c_ulong,)
    before = personality(_ASK_PERSONALITY)
    if before < 0 or personality(_PER_LINUX32) < 0:
        return False
    personality(before)
    return True


def _file_system(path: Path) -> tuple[str, int, int] | None:
    """Return (path, total bytes, free bytes), by the nearest directory that exists already."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    try:
        facts = os.statvfs(there)
    except OSError:
        return None
    return str(path), facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize


class RecordedHost(_Files):
    """A machine recorded in a directory: its files by their paths, answers to queries in the files of `forms`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._queries: dict[str, Callable[[], Any]] = {name: partial(self._answer, name) for name in FORMS}
        # Where an answer stands that has no file of its own.
        self._elsewhere: dict[str, Callable[[], Any]] = {
            "uname-m": lambda: _machine(self._command("uname-a")),
            "uname-r": lambda: _release(self._command("uname-a")),
            "affinity": lambda: _affinity(self.read("/proc/self/status")),
            "runtime-version": lambda: self._command("singularity-version"),
        }

    def query(self, name: str) -> Any:
        """See ports.Host."""
        return _ask(self._queries, name)

    def _answer(self, name: str) -> Any:
        form = FORMS[name]
        content = self.read(f"/{form.file}")
        answer = None if content is None else form.load(content.decode(errors="replace"))
        other = self._elsewhere[name]() if name in self._elsewhere and not answer else None
        return answer if other is None else other

    def _command(self, name: str) -> str | None:
        content = self.read(f"/_cmd/{name}.txt")
        return content.decode(errors="replace").strip() if content else None


def _machine(uname: str | None) -> str | None:
    """Return the machine of a `uname -a` line: the last word but the operating system's name."""
    words = (uname or "").split()
    return words[-2] if len(words) > 3 else None


def _release(uname: str | None) -> str | None:
    words = (uname or "").split()
    return words[2] if len(words) > 3 else None


def _affinity(status: bytes | None) -> tuple[int, ...] | None:
    for line in (status or b"").decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == "Cpus_allowed_list":
            return tuple(sorted(parse_cpu_list(value)))
    return None
