"""A small image made of this host's own programs, for a demonstration and for tests without any network."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from agent.errors import RuntimeUnavailable, Unavailable
from agent.images.elf import elf_loader
from agent.process import Completed, run

PROGRAMS = (
    *("sh", "cat", "cp", "cut", "date", "dd", "echo", "env", "expr", "false", "head", "id", "ls", "mkdir", "mv"),
    *("printf", "pwd", "rm", "sed", "seq", "setsid", "sha256sum", "sleep", "sort", "tail", "tr", "true", "uname", "wc"),
)
_DIRECTORIES = ("bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp")
# Apptainer binds the host's own over these; without them it warns.
_FILES = ("etc/group", "etc/hosts", "etc/localtime", "etc/passwd", "etc/resolv.conf")

_LOADER_TIMEOUT = 10.0
_BUILD_TIMEOUT = 120.0
_REMEDY = "install it: Debian and Ubuntu have it in squashfs-tools, Fedora too"


def build_image(target: Path, apptainer: str) -> None:
    """Build an image for this host's architecture at `target`, replacing what is there; takes about a second.

    `apptainer` is the path of Apptainer or Singularity. Raises RuntimeUnavailable when it or mksquashfs is missing
    or cannot do it.
    """
    if shutil.which("mksquashfs", path=_search_path()) is None:
        raise RuntimeUnavailable(f"mksquashfs is missing, which {apptainer} builds images with; {_REMEDY}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        tree, image = Path(folder, "root"), Path(folder, "image.sif")
        make_root(tree)
        _run(apptainer, "build", str(image), str(tree), timeout=_BUILD_TIMEOUT)
        image.chmod(0o644)
        image.replace(target)


def _search_path() -> str:
    # Apptainer looks there itself; a plain user's PATH often leaves them out.
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def make_root(tree: Path) -> None:
    """Make a root file system at `tree` with those of PROGRAMS that this host has, and what they load.

    Raises RuntimeUnavailable when there is no shell, or a program's loader does not answer.
    """
    for name in _DIRECTORIES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        (tree / name).touch()
    for name in PROGRAMS:
        _install(tree, name)
    if not (tree / "bin/sh").exists():
        raise RuntimeUnavailable("there is no sh on PATH, and the image needs one")


def _install(tree: Path, name: str) -> None:
    found = shutil.which(name)
    if found is None:
        return
    _copy(Path(found), tree / "bin" / name)
    loader = elf_loader(Path(found).read_bytes())
    if loader is not None:
        answer = _run(loader, "--list", found, timeout=_LOADER_TIMEOUT)
        for path in {loader, *parse_libraries(answer.out)}:
            _copy(Path(path), tree / path.lstrip("/"))


def parse_libraries(text: str) -> tuple[str, ...]:
    """Return the absolute paths of the shared objects that a loader lists, "NAME => PATH (ADDRESS)" or "PATH ..."."""
    found = re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", text, re.MULTILINE)
    return tuple(os.path.normpath(path) for path in found)


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)


def _run(*argv: str, timeout: float) -> Completed:
    try:
        done = run(argv, timeout)
    except Unavailable as error:
        raise RuntimeUnavailable(str(error)) from None
    if done.status != 0:
        words = " ".join((done.err or done.out).split())[-500:]
        raise RuntimeUnavailable(f"{' '.join(argv[:2])} ended with status {done.status}: {words}")
    return done
