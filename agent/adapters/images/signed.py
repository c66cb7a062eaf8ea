"""Images whose signature is checked before they run, by the runtime's own command and the operator's public keys."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from agent.errors import HostFault, JobFault, RuntimeUnavailable, StoreUnavailable, Unavailable
from agent.images.sif import is_sif, read_sif
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import ImageFacts, ImageFetcher
from agent.process import Completed, run

log = logging.getLogger(__name__)

VERIFY_TIMEOUT = 600.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_REMEMBERED = 256
_RULE = '[images] signatures = "require"'
_KINDS = (".pem", ".asc")
# Schemes of images that are made on this host, so that nobody can have signed them.
MADE_HERE = {
    "docker": "what is built here of an image of a registry carries no signature",
    "venv": "a Python environment carries no signature",
}

UNSIGNED = "it is not signed"
ADDED = "something was added to it after it was signed"
CHANGED = "it was changed after it was signed"
STRANGE = "it is signed, and by none of the keys in {keys}"
_NO_SIF = "it is no SIF file, and images of other forms carry no signature"
_NO_KEY = "Failed to load key material"
# What the runtime prints -> what it means. What is first tells more: a key that fits says more than one that does not.
_SIGNS = (
    ("integrity compromised", CHANGED),
    ("object not signed", ADDED),
    ("not associated with object group", ADDED),
    ("signature not found", UNSIGNED),
    ("verify envelope failed", STRANGE),
    ("unknown entity", STRANGE),
    ("key material not provided", STRANGE),
)

# Device, inode, size and time of change of an image, and likewise of all keys with their names.
_Identity = tuple[tuple[int, int, int, int], tuple[tuple[str, int, int, int, int], ...]]


class Signatures:
    """Says what is wrong with the signature of an image. The keys are looked at anew each time.

    keys: a directory with public keys, NAME.pem (PEM) and NAME.asc (armored PGP); one of them must have signed.
    """

    def __init__(self, keys: Path, program: Callable[[], str | None], timeout: float = VERIFY_TIMEOUT) -> None:
        """`program` returns the runtime's path, or None where none is installed; timeout: seconds for one key."""
        self._keys = keys
        self._program = program
        self._timeout = timeout
        self._verdicts: OrderedDict[_Identity, str | None] = OrderedDict()
        self._lock = threading.Lock()

    def problem(self, path: Path) -> str | None:
        """Return why the image is not signed as it should be; None when it is.

        `path` must be a file that nobody else can change. What was found out about it is remembered. Raises HostFault
        for want of keys, RuntimeUnavailable for want of a runtime, StoreUnavailable when that does not answer.
        """
        keys = self._found()
        identity = (_identity(path), tuple((key.name, *_identity(key)) for key in keys))
        with self._lock:
            if identity in self._verdicts:
                return self._verdicts[identity]
        found = self._judged(path, keys)
        with self._lock:
            self._verdicts[identity] = found
            if len(self._verdicts) > _MOST_REMEMBERED:
                self._verdicts.popitem(last=False)
        return found

    def _found(self) -> list[Path]:
        try:
            keys = sorted(path for path in self._keys.iterdir() if path.suffix in _KINDS)
        except OSError as error:
            raise HostFault(f"[images] keys_dir, {self._keys}, cannot be read: {error.strerror}") from None
        if not keys:
            raise HostFault(f"[images] keys_dir, {self._keys}, has no keys: put NAME.pem or NAME.asc there")
        return keys

    def _judged(self, path: Path, keys: list[Path]) -> str | None:
        without = _without_signature(path)
        if without is not None:
            return without
        said = []
        for done in self._tried(path, keys):
            if done.status == 0:
                return None
            said.append(done.err)
        words = "\n".join(said)
        if _NO_KEY in words:
            raise HostFault(f"a key in [images] keys_dir, {self._keys}, is none: {_last_line(words)}")
        for sign, meaning in _SIGNS:
            if sign in words:
                # It has a signature, so that this one is of another part of it.
                return ADDED if meaning == UNSIGNED else meaning.format(keys=self._keys)
        raise HostFault(f"the signature of {path} could not be verified here: {_last_line(words)}")

    def _tried(self, path: Path, keys: list[Path]) -> Iterator[Completed]:
        """Verify the image by each of the keys, until the caller has enough."""
        with tempfile.TemporaryDirectory(prefix="edge-agent-keys-") as folder:
            for key in (each for each in keys if each.suffix == ".pem"):
                yield self._run(folder, "verify", "--key", str(key), str(path))
            ring = [each for each in keys if each.suffix == ".asc"]
            for key in ring:
                done = self._run(folder, "key", "import", str(key))
                if done.status != 0:
                    raise HostFault(f"the key {key} cannot be used: {_last_line(done.err)}")
            if ring:
                yield self._run(folder, "verify", "--local", str(path))

    def _run(self, folder: str, *words: str) -> Completed:
        program = self._program()
        if program is None:
            raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
        own = {f"{prefix}_KEYSDIR": folder for prefix in ("APPTAINER", "SINGULARITY")}
        try:
            return run([program, *words], self._timeout, {"PATH": _PATH, "HOME": folder, "LC_ALL": "C.UTF-8", **own})
        except Unavailable as error:
            raise StoreUnavailable(f"a signature could not be verified: {error}") from None


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _without_signature(path: Path) -> str | None:
    """Return why the image has no signature at all; None for one that has."""
    with path.open("rb") as file:
        if not is_sif(file):
            return _NO_SIF
        return None if read_sif(file).signed else UNSIGNED


def _last_line(words: str) -> str:
    lines: Iterable[str] = (line.strip() for line in words.splitlines())
    return ([line for line in lines if line] or ["it says nothing"])[-1]


class SignedImages:
    """An ImageFetcher in front of another one, by the operator's rule about signatures."""

    def __init__(self, images: ImageFetcher, signatures: Signatures, rule: Literal["warn", "require"]) -> None:
        self._images = images
        self._signatures = signatures
        self._rule = rule

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. An image that no signature can be on is told before anything is fetched."""
        why = MADE_HERE.get(_scheme(image))
        if why is not None and self._rule == "require":
            return ImageFacts(None, 0, f"{why}, and {_RULE} wants one")
        return self._images.facts(image, cargo)

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher. Raises JobFault for an image that the rule does not let run."""
        why = MADE_HERE.get(_scheme(image))
        if why is not None and self._rule == "require":
            raise JobFault(f"image {image.uri}: {why}, and {_RULE} wants one")
        path = self._images.fetch(image, cargo)
        problem = why or self._problem(path)
        if problem is not None and self._rule == "require":
            raise JobFault(f"image {image.uri}: {problem}, and {_RULE} wants a valid signature")
        if problem is not None:
            about = {"event": "image-unverified", "uri": image.uri, "reason": problem}
            log.warning("image runs without a valid signature", extra=about)
        return path

    def _problem(self, path: Path) -> str | None:
        try:
            return self._signatures.problem(path)
        except (HostFault, Unavailable) as error:
            if self._rule == "require":
                raise
            return str(error)


def _scheme(image: Image) -> str:
    return image.uri.partition(":")[0]
