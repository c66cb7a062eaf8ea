"""Keys in files, chosen by the prefix of a queue's name; what changes in the directory holds for the next message.

    opening/PREFIX.pem          private RSA key that opens envelopes; PREFIX.passphrase beside it, if it is encrypted
    signers/PREFIX.pub          Ed25519 key of those who may submit, a line of OpenSSH
    reports/PREFIX.pem          public RSA key by which reports are sealed

Of several prefixes that fit, the longest wins; `_any` fits every queue.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from agent.errors import HostFault, InvalidInput
from agent.signing import load_signer
from agent.studioml.envelope import load_private, load_public

log = logging.getLogger(__name__)

ANY = "_any"
_OTHERS = 0o077  # the rights of everybody but the owner

Key = TypeVar("Key")


class KeyFiles:
    """Keys as agent.studioml.reading has them. A directory that does not exist has none."""

    def __init__(self, directory: Path) -> None:
        self._opening = _Folder[object](directory / "opening", ".pem", _Private())
        self._signers = _Folder[bytes](directory / "signers", ".pub", lambda path: load_signer(path.read_bytes()))
        self._reports = _Folder[object](directory / "reports", ".pem", lambda path: load_public(path.read_bytes()))

    def opening(self, queue: str) -> object | None:
        """See Keys."""
        return self._opening.key_for(queue)

    def signer(self, queue: str) -> bytes | None:
        """See Keys."""
        return self._signers.key_for(queue)

    def reports(self, queue: str) -> object | None:
        """See Keys."""
        return self._reports.key_for(queue)


class _File(NamedTuple):
    """What shows that a file is another one than before; all but the name is 0 when it cannot be seen."""

    name: str
    modified: int = 0
    changed: int = 0
    size: int = 0
    inode: int = 0


class _Folder(Generic[Key]):
    """One kind of keys. Those that were read are kept as long as nothing in their folder changes."""

    def __init__(self, path: Path, suffix: str, load: Callable[[Path], Key]) -> None:
        self._path = path
        self._suffix = suffix
        self._load = load
        self._lock = threading.Lock()
        self._seen: frozenset[_File] = frozenset()
        self._keys: dict[str, Key] = {}

    def key_for(self, queue: str) -> Key | None:
        """Return the key of the longest prefix. Raises HostFault."""
        with self._lock:
            files = self._files()
            if files != self._seen:
                self._seen, self._keys = files, {}
            names = [file.name for file in files if self._fits(file.name, queue)]
            name = max(names, key=lambda name: len(self._prefix(name)), default=None)
            if name is not None and name not in self._keys:
                self._keys[name] = self._read(self._path / name)
            return None if name is None else self._keys[name]

    def _fits(self, name: str, queue: str) -> bool:
        return name.endswith(self._suffix) and queue.startswith(self._prefix(name))

    def _prefix(self, name: str) -> str:
        prefix = name.removesuffix(self._suffix)
        return "" if prefix == ANY else prefix

    def _files(self) -> frozenset[_File]:
        """Return what is in the folder but hidden files, which tools that copy and edit leave for a moment."""
        try:
            return frozenset(_seen(path) for path in self._path.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise HostFault(f"{self._path}: {error.strerror}; the agent must be able to read its keys") from None

    def _read(self, path: Path) -> Key:
        try:
            return self._load(path)
        except InvalidInput as error:
            raise HostFault(f"{error.from_source(str(path))}; replace or remove this key") from None
        except OSError as error:
            raise HostFault(f"{path}: {error.strerror}; the agent must be able to read its keys") from None


def _seen(path: Path) -> _File:
    try:
        info = path.stat()
    except OSError:  # a link into nothing is a key that is configured and cannot be read
        return _File(path.name)
    return _File(path.name, info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)


class _Private:
    """Reads private keys."""

    def __init__(self) -> None:
        self._warned: set[Path] = set()

    def __call__(self, path: Path) -> object:
        self._warn_if_exposed(path)
        beside = path.with_suffix(".passphrase")
        passphrase = None
        if beside.exists():
            self._warn_if_exposed(beside)
            passphrase = beside.read_bytes().rstrip(b"\r\n")
        return load_private(path.read_bytes(), passphrase)

    def _warn_if_exposed(self, path: Path) -> None:
        if path.stat().st_mode & _OTHERS and path not in self._warned:
            self._warned.add(path)
            fields = {"event": "key-exposed", "path": str(path), "remedy": "chmod 600"}
            log.warning("a private key is not for its owner alone", extra=fields)
