"""A guest with cgroup v2 and nothing else: a kernel, busybox, this Python, the agent, and one program as its init.

It has no network, a disk only when it is given one, and is emulated: no right on this host is needed, and what it
measures of time is worth little.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory
from types import MappingProxyType

import agent
from agent.adapters.local_image import parse_libraries
from agent.images.elf import elf_loader
from agent.process import run

from tests.system.cpio import Cpio

GUEST = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-agent-tests/guest"
KERNEL = GUEST / "vmlinuz"
MODULES = GUEST / "modules"
SITE = "/site"
BOOT_TIMEOUT = 300.0
_MEMORY_MIB = 1024
_UNUSED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "pydoc_data"}
    | {"turtledemo", "distutils", Path(sysconfig.get_config_var("LIBPL") or "config").name}
)
_INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ PYTHONPATH={SITE} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
{{python}} /inside.py >/dev/ttyS1 2>&1
poweroff -f
"""


def build(initramfs: Path, program: Path, files: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Write the guest's first file system, which runs `program` with this host's Python, and has `files` besides."""
    with initramfs.open("wb") as file:
        archive = Cpio(file)
        for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin"):
            archive.add_directory(name)
        archive.add_device("dev/console", 5, 1)
        archive.copy(Path(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
        archive.add_link("usr/bin/env", "/bin/busybox")
        found = find_spec("msgspec")
        assert found is not None
        assert found.origin is not None
        foreign = Path(found.origin).parent
        archive.copy_tree(foreign, f"{SITE}/msgspec", _UNUSED)
        python = _add_python(archive, foreign.glob("*.so"))
        archive.add_file("init", _INIT.format(python=python).encode(), 0o755)
        archive.copy(program, "inside.py")
        for name, content in files.items():
            archive.add_file(name, content)
        with TemporaryDirectory() as folder:
            archive.copy_tree(_compiled(Path(agent.__file__).parent, Path(folder)), f"{SITE}/agent", _UNUSED)
        archive.close()


def _compiled(package: Path, folder: Path) -> Path:
    """Return a copy of a package in `folder` with bytecode beside it: the guest would take long to make it."""
    copy = folder / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(copy, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return copy


def _add_python(archive: Cpio, modules: Iterable[Path]) -> Path:
    """Add the interpreter, its library, and what these and `modules` load; returns the interpreter's path."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    archive.copy_tree(library, str(library), _UNUSED)
    archive.copy(python)
    for program in (python, *modules, *library.glob("lib-dynload/*.so")):
        for path in _libraries(program, python):
            archive.copy(path)
    return python


def _libraries(program: Path, python: Path) -> list[Path]:
    loader = elf_loader(python.read_bytes())
    if loader is None:
        return []
    done = run([loader, "--list", str(program)], 10.0)
    return [Path(path) for path in {loader, *parse_libraries(done.out)}]


def modules() -> dict[str, bytes]:
    """Return the kernel's modules for a disk with ext4, named in the order in which they are loaded."""
    return {f"modules/{each.name}": each.read_bytes() for each in MODULES.iterdir()}


def command(initramfs: Path, console: Path, answer: Path, words: str = "", disk: Path | None = None) -> list[str]:
    """Return the command line of the guest. words: more for the kernel's; disk: the socket of a VolatileDisk."""
    drive = ("-drive", f"if=virtio,format=raw,cache=writeback,file=nbd:unix:{disk}")
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", str(_MEMORY_MIB), "-smp", "2"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-net", "none"),
        *("-serial", f"file:{console}", "-serial", f"file:{answer}"),
        *("-kernel", str(KERNEL), "-initrd", str(initramfs)),
        *("-append", f"console=ttyS0 panic=-1 quiet no_timer_check random.trust_cpu=on {words}".strip()),
        *(drive if disk is not None else ()),
    ]


def boot(initramfs: Path, console: Path, answer: Path) -> str:
    """Run the guest until its program ended; returns what that printed. `console` gets the kernel's words."""
    done = run(command(initramfs, console, answer), BOOT_TIMEOUT)
    assert done.status == 0, f"QEMU ended with status {done.status}: {done.err[-2000:]}"
    return answer.read_text(errors="replace")
