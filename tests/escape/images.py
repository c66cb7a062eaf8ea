"""Hostile images."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from agent.adapters.local_image import parse_libraries
from agent.images.elf import elf_loader
from agent.process import run

TOOLS = (
    *("chmod", "find", "grep", "ln", "mkfifo", "mknod", "mount", "nsenter", "perl", "readlink", "touch"),
    *("truncate", "umount", "unshare"),
)
BUILD_TIMEOUT = 120.0


def install(tree: Path, programs: Iterable[str]) -> None:
    """Put programs of this host into the root file system, with what they load."""
    for name in programs:
        found = shutil.which(name)
        assert found is not None, f"{name} is missing; packaging/install-test-tools.sh installs it"
        _copy(Path(found), tree / "bin" / name)
        loader = elf_loader(Path(found).read_bytes())
        if loader is not None:
            for path in {loader, *parse_libraries(run((loader, "--list", found), 10.0).out)}:
                _copy(Path(path), tree / path.lstrip("/"))


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)


def build(target: Path, tree: Path) -> Path:
    """Build the image of a root file system; everybody may read it."""
    program = shutil.which("apptainer")
    assert program is not None, "Apptainer is missing; packaging/install-apptainer.sh installs it"
    done = run((program, "build", str(target), str(tree)), BUILD_TIMEOUT)
    assert done.status == 0, done.err
    target.chmod(0o644)
    return target
