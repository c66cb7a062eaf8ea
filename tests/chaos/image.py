"""The image of the jobs: this host's own programs and bash, which can connect to the witness."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from agent.adapters.local_image import make_root, parse_libraries


def build(target: Path) -> None:
    """Build the image at `target`. AssertionError when a program is missing."""
    bash, apptainer = shutil.which("bash"), shutil.which("apptainer")
    assert bash is not None, "bash is missing, which jobs run in; install it"
    assert apptainer is not None, "Apptainer is missing; packaging/install-apptainer.sh installs it"
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        tree = Path(folder) / "root"
        make_root(tree)
        loaded = subprocess.run(["ldd", bash], capture_output=True, text=True, check=True).stdout
        shutil.copy(bash, tree / "bin/bash")
        for library in map(Path, parse_libraries(loaded)):
            place = tree / str(library).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copy(library, place)
        subprocess.run([apptainer, "build", str(target), str(tree)], check=True, capture_output=True, timeout=120)
    target.chmod(0o644)
