"""Packages of this checkout, built once for all tests of a session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

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


class Packages(NamedTuple):
    """The packages of one architecture; the .deb and .rpm of this checkout, and those of a later release."""

    deb: Path
    rpm: Path
    next_deb: Path
    next_rpm: Path


def build_packages(dist: Path, arch: str, machine: str) -> Packages:
    """Build what tests install on amd64 (x86_64) or arm64 (aarch64). They are not compressed much: it takes long."""
    for version in (VERSION, NEXT):
        build(dist, arch, EDGE_AGENT_LEVEL="0", EDGE_AGENT_VERSION=version)
    return Packages(
        *(dist / name for name in (f"edge-agent_{VERSION}_{arch}.deb", f"edge-agent-{VERSION}.{machine}.rpm")),
        *(dist / name for name in (f"edge-agent_{NEXT}_{arch}.deb", f"edge-agent-{NEXT}.{machine}.rpm")),
    )
