"""Python virtual environments in place of images, made once for each list of packages and kept: venv://python.

<cache entry>/<random>/     the environment, at the place that its scripts know
<cache entry>/venv          link to it

The place is new each time. So an installer that outlived a killed agent does not write into what the next one makes.
All jobs that ask for the same share one environment.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.adapters.pythons import Python, is_version, pythons
from agent.adapters.requirement_lines import checked
from agent.cache import Cache, key_of
from agent.errors import EdgeAgentError, HostFault, JobFault, StoreUnavailable, Unavailable
from agent.model.cargo import NOTHING, VENV_IMAGE, Cargo, Venv
from agent.model.job import Image
from agent.ports import ImageFacts
from agent.process import Completed, run
from agent.redact import mask_text

TRIES = 3
PAUSE = 2.0  # seconds between two tries; the installers try each request again themselves
MAKE_TIMEOUT = 300.0
INSTALL_TIMEOUT = 3600.0

_LINK = "venv"
# What an installer needs of the agent's environment. Packages run code of their own while they are built.
_PASSED = frozenset(
    [
        *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    ]
)
_PREFIXES = ("PIP_", "UV_")
# They would install into another place.
_MISLEADING = frozenset(
    [
        *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT"),
        *("UV_PROJECT", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_WORKING_DIR"),
    ]
)
# A link to a file of uv's own cache would let a job that changes its packages change those of all others.
_DEFAULTS = {"UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1"}

# An index that does not let the agent in is no fault of the job, either; an address that the job brings is.
_NETWORK = re.compile(
    r"error sending request|Connection (?:refused|reset|aborted|broken)|[Tt]imed out|TimeoutError"
    r"|name resolution|Name or service not known|dns error|Could not resolve host|[Nn]etwork is unreachable"
    r"|\b(?:HTTP error|status code|server error \()\D{0,20}\b(?:429|5\d\d)\b"
    r"|Could not fetch URL .*\b(?:40[137]|429|5\d\d) (?:Client|Server) Error|too many 5\d\d error responses"
    r"|lack of valid authentication credentials"
)
# So says pip of a package that is not there, and of an index that it cannot read; why, it tells in its log alone.
_SILENT = "(from versions: none)"
_HOST = re.compile(r"No space left on device|Disk quota exceeded|Cannot find command 'git'|Git executable not found")
_NOISE = re.compile(
    r"\s*(?:$|note:|hint:|\[notice|╰─> See above|WARNING:|Looking in |Using |DEPRECATION)", re.IGNORECASE
)


class _Maker(NamedTuple):
    """An interpreter, and the path of uv when that makes and fills the environment: else the interpreter does."""

    python: Python
    uv: str | None

    @property
    def name(self) -> str:
        return "pip" if self.uv is None else "uv"

    def is_here(self) -> bool:
        """Say whether both are still where they were found."""
        return all(Path(path).exists() for path in (self.python.path, self.uv) if path is not None)

    def making(self, place: Path) -> list[list[str]]:
        """Return the commands that make an environment; the same pip is in it, whoever makes it."""
        python, wheels = self.python.path, self.python.wheels
        if self.uv is None:
            return [[python, "-I", "-m", "venv", str(place)]]
        empty = [*self._in(place), "venv", "--no-project", "--python", python, str(place)]
        own = [*self._in(place), "pip", "install", "--python", _python(place), "--offline", "--no-index", "--no-deps"]
        return [empty, [*own, *wheels]] if wheels else [empty]

    def filling(self, place: Path, file: Path) -> list[str]:
        """Return the command that installs what the file lists."""
        if self.uv is not None:
            return [*self._in(place), "pip", "install", "--python", _python(place), "--requirement", str(file)]
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        return [_python(place), "-I", "-m", "pip", "install", *quiet, "--requirement", str(file)]

    def _in(self, place: Path) -> list[str]:
        # Where the agent was started may lie a project with wishes of its own.
        return [self.uv or "", "--directory", str(place.parent)]


def _python(place: Path) -> str:
    return str(place / "bin" / "python")


class VenvImages:
    """ImageFetcher for venv://python, of the host's own Pythons. uv makes the environments where it is on PATH."""

    def __init__(
        self,
        cache: Cache,
        arch: Callable[[], str | None],
        environ: Mapping[str, str] = os.environ,
        pause: float = PAUSE,
    ) -> None:
        """arch: of this host's programs, in Go names; environ: of the agent, of which the installers get a part."""
        self._cache = cache
        self._arch = arch
        self._environ = environ
        self._pause = pause
        self._known: dict[str, _Maker] = {}

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. Says whether the Python is here, not whether the packages can be installed."""
        found = self._maker(image, cargo.venv)
        return ImageFacts(self._arch(), 0, found if isinstance(found, str) else None)

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """Return the directory of the environment, made if it is not there.

        Raises JobFault for packages that cannot be installed, StoreUnavailable when the network is in the way, and
        HostFault for what this host lacks.
        """
        maker = self._maker(image, cargo.venv)
        if isinstance(maker, str) or cargo.venv is None:
            raise HostFault(f"{image.uri}: {maker}")
        wanted = Venv(cargo.venv.python, checked(cargo.venv.requirements), checked(cargo.venv.extra))
        python = maker.python
        parts = ("\n".join(wanted.requirements), "\n".join(wanted.extra))
        key = key_of(VENV_IMAGE, python.path, python.version, python.platform, *parts)
        entry = self._cache.add(key, lambda path: self._make(path, maker, wanted), in_place=True)
        return entry / (entry / _LINK).readlink()

    # --- what makes it ---

    def _maker(self, image: Image, venv: Venv | None) -> _Maker | str:
        """Return what makes the environment, or why nothing does."""
        if image.uri != VENV_IMAGE:
            return f"no such environment; there is {VENV_IMAGE}"
        if venv is None:
            return f"{VENV_IMAGE} needs a list of packages, which jobs of this form do not bring"
        if not is_version(venv.python):
            return f'"{venv.python[:40]}" is no version of Python'
        known = self._known.get(venv.python)
        if known is None or not known.is_here():
            found = self._search(venv.python)
            if isinstance(found, str):
                return found
            known = self._known[venv.python] = found
        return known

    def _search(self, wanted: str) -> _Maker | str:
        environ = self._environment()
        uv = shutil.which("uv", path=environ.get("PATH", os.defpath))
        incomplete = None
        for python in pythons(wanted, uv, environ):
            if uv is not None and _is_for_uv(python):
                return _Maker(python, uv)
            if python.complete:
                return _Maker(python, None)
            incomplete = incomplete or python
        return _no_python(wanted, uv) if incomplete is None else _no_module(incomplete)

    def _environment(self) -> dict[str, str]:
        passed = {name: value for name, value in self._environ.items() if _is_passed(name)}
        return {**_DEFAULTS, **passed}

    # --- making it ---

    def _make(self, entry: Path, maker: _Maker, wanted: Venv) -> None:
        entry.mkdir(mode=0o700)
        place = entry / secrets.token_hex(4)
        for argv in maker.making(place):
            done = self._run(argv, MAKE_TIMEOUT)
            if done.status != 0:
                raise fault_of(done, maker.name)
        for lines in filter(None, (wanted.requirements, wanted.extra)):
            self._install(maker, place, lines)
        (entry / _LINK).symlink_to(place.name)

    def _install(self, maker: _Maker, place: Path, lines: Sequence[str]) -> None:
        file = place.with_suffix(".txt")  # an address in it may hold a password: never a word of a command
        file.touch(mode=0o600)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for left in reversed(range(TRIES)):
            fault = self._try_to_install(maker, maker.filling(place, file), file.with_suffix(".log"))
            if fault is None:
                break
            if not isinstance(fault, StoreUnavailable) or not left:
                raise fault
            threading.Event().wait(self._pause)
        file.unlink()

    def _try_to_install(self, maker: _Maker, argv: Sequence[str], log: Path) -> EdgeAgentError | None:
        done, logged = self._run(argv, INSTALL_TIMEOUT), ""
        if _SILENT in done.err and done.status != 0:
            done = self._run([*argv, "--log", str(log)], INSTALL_TIMEOUT)
            logged = log.read_text(errors="replace") if log.exists() else ""
            log.unlink(missing_ok=True)
        return None if done.status == 0 else fault_of(done, maker.name, logged)

    def _run(self, argv: Sequence[str], timeout: float) -> Completed:
        try:
            return run(argv, timeout, env=self._environment())
        except Unavailable as error:
            raise HostFault(f"the Python environment cannot be made: {error}") from None


def fault_of(done: Completed, name: str, log: str = "") -> EdgeAgentError:
    """Return what the failure of an installer means: the job's fault, unless network or host are named in it.

    log: of what it did not print.
    """
    said = f"{done.out}\n{done.err}\n{log}"
    network = [line for line in said.splitlines() if _NETWORK.search(line)][-1:]
    kind = HostFault if _HOST.search(said) else StoreUnavailable if network else JobFault
    printed = (done.err.strip() or done.out).splitlines()
    telling = [line for line in printed if not _NOISE.match(line)][-12:]
    words = mask_text(" | ".join(line.strip() for line in dict.fromkeys([*network, *telling])))[-1000:]
    return kind(f"the Python environment cannot be made: {name} ended with status {done.status}: {words}")


def _is_passed(name: str) -> bool:
    return (name in _PASSED or name.startswith(_PREFIXES)) and name not in _MISLEADING


def _is_for_uv(python: Python) -> bool:
    return tuple(map(int, python.minor.split("."))) >= (3, 8)


def _no_python(wanted: str, uv: str | None) -> str:
    if wanted.split(".")[0] != "3":
        return f"no Python {wanted} on this host, and environments are made for Python 3 only"
    remedy = "uv" if uv is None else f"let the agent's user run `uv python install {wanted}`"
    return f"no Python {wanted} on this host; install python{wanted} or {remedy}"


def _no_module(python: Python) -> str:
    return (
        f"Python {python.version} on this host makes no virtual environments; "
        f"install python{python.minor}-venv (so called by Debian and Ubuntu) or uv"
    )
