"""A tiny container image made of this host's own programs, so that tests need no network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("sh", "cat", "dd", "env", "id", "ls", "mkdir", "rm", "setsid", "sleep", "true", "uname")
_EMPTY = ("dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var/tmp")
_BUILD_TIMEOUT_S = 60


def build_tiny_image(folder: Path) -> Path:
    """Build `tiny.sif` in `folder` from /bin/sh and a few coreutils; what apptainer says is in the error."""
    tree, image = folder / "tiny", folder / "tiny.sif"
    for name in _EMPTY:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        _install(tree, program)
    _run("apptainer", "build", "--force", str(image), str(tree))
    image.chmod(0o644)
    return image


def _install(tree: Path, program: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not on PATH; the test image needs it")
    _copy(Path(found), tree / "bin" / program)
    for library in _libraries(found):
        _copy(library, tree / library.relative_to("/"))


def _libraries(program: str) -> list[Path]:
    """The shared libraries and the loader that ldd names."""
    words = _run("ldd", program).split()
    return [Path(word) for word in words if word.startswith("/") and not word.endswith(":")]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), target)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
