"""Packages of this checkout, built once for all tests of a session."""

from __future__ import annotations

import os
from pathlib import Path

import agent
from agent.process import Completed, run

TOP = Path(agent.__file__).parents[1]
VERSION = agent.__version__
NEXT = "0.1.1"  # what an upgrade goes to
# Compiling the interpreter takes minutes, once.
BUILD_TIMEOUT = 3600.0
_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


def build(dist: Path, *archs: str, **environment: str) -> Completed:
    """Build packages into `dist`, which is made."""
    dist.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "XDG_CACHE_HOME": _CACHE, "DIST": str(dist), **environment}
    done = run((str(TOP / "packaging/build.sh"), *archs), BUILD_TIMEOUT, env)
    assert done.status == 0, done.err[-4000:]
    return done
