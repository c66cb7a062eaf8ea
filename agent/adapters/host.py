"""The Host port over this machine, and over a recorded one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
            "elf": _own_elf,
            "affinity": lambda: tuple(sorted(os.sched_getaffinity(0))),
            "page-size": lambda: os.sysconf("SC_PAGE_SIZE"),
            "statvfs": lambda: _file_system(state_dir),
            "dev-nodes": lambda: _gpu_nodes(root),
            "nvml": self._nvml,
            "nvpmodel": lambda: _printed("nvpmodel", "-q"),
            "throttled": lambda: _printed("vcgencmd", "get_throttled"),
            "runtime-version": self._runtime_version,
        }

    def query(self, name: str) -> Any:
        """See ports.Host."""
        return _ask(self._queries, name)

    def _nvml(self) -> dict[str, Any]:
        """Return what NVML answers, asked in a child: a driver that hangs or crashes takes only that along."""
        try:
            done = run(self._nvml_command, self._nvml_timeout, _nvml_environment())
        except Unavailable:
            return {"init": "Timeout"}
        return _table(done.out) or {"init": CRASHED}

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


def _nvml_environment() -> dict[str, str]:
    """Return this process's environment; on WSL 2 Windows' own library comes before a stub that a package installed."""
    searched = os.environ.get("LD_LIBRARY_PATH")
    if Path(_WSL_LIBRARIES).is_dir():
        searched = f"{_WSL_LIBRARIES}:{searched}" if searched else _WSL_LIBRARIES
    chosen = {"LD_LIBRARY_PATH": searched} if searched else {}
    return {**os.environ, **chosen, "PYTHONSAFEPATH": "1"}


def _table(text: str) -> dict[str, Any] | None:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) else None


def _gpu_nodes(root: Path) -> tuple[str, ...]:
    device_folder = root / "dev"
    found = (node for pattern in _GPU_NODES for node in device_folder.glob(pattern))
    return tuple(sorted(f"/{node.relative_to(root)}" for node in found))


def _printed(program: str, *arguments: str) -> str | None:
    """Return what a vendor's tool prints; None where there is no such tool, or it does not end in time."""
    path = shutil.which(program)
    try:
        return run([path, *arguments], _TOOL_TIMEOUT).out if path else None
    except Unavailable:
        return None


def _own_elf() -> bytes | None:
    try:
        with Path(sys.executable).open("rb") as file:
            return file.read(64)
    except OSError:
        return None


def _file_system(path: Path) -> tuple[str, int, int] | None:
    """Return (path, total bytes, free bytes), by the nearest directory that exists already."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    try:
        facts = os.statvfs(there)
    except OSError:
        return None
    return str(path), facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize


class RecordedHost(_Files):
    """A machine recorded in a directory: its files by their paths, what commands printed in _cmd/NAME.txt."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._queries: dict[str, Callable[[], Any]] = {
            "uname-m": lambda: self._command("uname-m") or _machine(self._command("uname-a")),
            "uname-r": lambda: self._command("uname-r") or _release(self._command("uname-a")),
            "dpkg-architecture": lambda: self._command("dpkg-print-architecture"),
            "long-bit": lambda: _number(self._command("getconf-LONG_BIT")),
            "affinity": lambda: _affinity(self.read("/proc/self/status")),
            "page-size": lambda: _number(self._command("getconf-PAGESIZE")),
            "dev-nodes": lambda: _lines(self.read("/_dev_list.txt")),
            "nvml": lambda: _table((self.read("/_nvml.json") or b"").decode(errors="replace")),
            "nvpmodel": lambda: self._command("nvpmodel-q"),
            "throttled": lambda: self._command("vcgencmd-get_throttled"),
            "runtime-version": lambda: self._command("apptainer-version") or self._command("singularity-version"),
        }

    def query(self, name: str) -> Any:
        """See ports.Host."""
        return _ask(self._queries, name)

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


def _lines(content: bytes | None) -> tuple[str, ...] | None:
    return None if content is None else tuple(content.decode(errors="replace").split())


def _affinity(status: bytes | None) -> tuple[int, ...] | None:
    for line in (status or b"").decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == "Cpus_allowed_list":
            return tuple(sorted(parse_cpu_list(value)))
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
