"""The Pythons of this host: the agent's own, those on PATH, and those that uv manages.

What a name on PATH promises is tried: a shim of pyenv is there for versions that it then does not run.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from agent.errors import Unavailable
from agent.process import run

TIMEOUT = 20.0
_VERSION = re.compile(r"\d{1,3}(?:\.\d{1,3})*")
# An interpreter inside a virtual environment stands for the one behind it: the environment may be made anew.
_QUESTION = """
import glob, json, os, sys, sysconfig
from importlib.util import find_spec
path = sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)
spec = find_spec("ensurepip")
folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or spec and os.path.join(os.path.dirname(spec.origin), "_bundled")
names = ["pip"] if sys.version_info >= (3, 12) else ["pip", "setuptools"]
wheels = [file for name in names for file in sorted(glob.glob(os.path.join(folder or "/", name + "-*.whl")))[-1:]]
complete = find_spec("venv") is not None and spec is not None
print(json.dumps([path, "%d.%d.%d" % sys.version_info[:3], sysconfig.get_platform(), complete, wheels]))
"""


class Python(msgspec.Struct, frozen=True, array_like=True):
    """One interpreter. complete: it makes virtual environments by itself (Debian has that in python3-venv).

    wheels: the files of what it puts into each of them, pip and until 3.11 setuptools.
    """

    path: str
    version: str
    platform: str
    complete: bool
    wheels: tuple[str, ...] = ()

    @property
    def minor(self) -> str:
        """The version as in the name of the interpreter: "3.11"."""
        return ".".join(self.version.split(".")[:2])

    def is_a(self, wanted: str) -> bool:
        """Say whether the version begins with the wanted one, by whole numbers; "" = any."""
        return not wanted or f"{self.version}.".startswith(f"{wanted}.")


def is_version(text: str) -> bool:
    """Say whether the text is a version that can be looked for, or empty."""
    return not text or _VERSION.fullmatch(text) is not None


def pythons(wanted: str, uv: str | None, environ: Mapping[str, str]) -> Iterator[Python]:
    """Yield the interpreters of the version, the agent's own first; looks no further than the caller does.

    `environ` says what PATH is; `uv` is the path of uv, None where there is none.
    """
    for path in _paths(wanted, uv, environ):
        found = _ask(path, environ)
        if found is not None and found.is_a(wanted):
            yield found


def _paths(wanted: str, uv: str | None, environ: Mapping[str, str]) -> Iterator[str]:
    yield sys.executable
    names = (*([f"python{'.'.join(wanted.split('.')[:2])}"] if wanted else []), "python3")
    for name in names:
        for folder in environ.get("PATH", os.defpath).split(os.pathsep):
            path = Path(folder, name)
            if folder and os.access(path, os.X_OK):
                yield str(path)
    if uv is not None and wanted:
        yield from _of_uv(uv, wanted, environ)


def _of_uv(uv: str, wanted: str, environ: Mapping[str, str]) -> Iterator[str]:
    only = {"UV_PYTHON_PREFERENCE": "only-managed", "UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = run([uv, "python", "find", "--no-project", wanted], TIMEOUT, env={**environ, **only})
    except Unavailable:
        return
    if done.status == 0:
        yield done.out.strip()


def _ask(path: str, environ: Mapping[str, str]) -> Python | None:
    try:
        done = run([path, "-I", "-c", _QUESTION], TIMEOUT, env=environ)
        return msgspec.convert(json.loads(done.out), Python) if done.status == 0 else None
    except (Unavailable, ValueError, msgspec.ValidationError):
        return None
