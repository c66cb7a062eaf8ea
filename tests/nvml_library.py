"""The library that stands for NVML, built from nvml_stub.c."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("nvml_stub.c")


def build_nvml(output: Path, *options: str) -> Path:
    """Build the library with the compiler's options given; return its path."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "there is no C compiler; packaging/install-test-tools.sh installs one"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", *options, "-o", str(output), str(_SOURCE)], check=True)
    return output
