"""Images in artifact stores, kept in the cache: a file of a server, an object, alone or in a tar archive."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from agent.adapters.images.packed import facts_of, take_in
from agent.cache import Cache, key_of, remove
from agent.errors import ArtifactMismatch, ArtifactMissing, HostFault, InvalidInput, JobFault, StoreUnavailable
from agent.images.sif import STRICT, Rules
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import ArtifactAccess, ArtifactInfo, ArtifactStore, ImageFacts
from agent.transfer.stream import Digested, chunks

_MOST_REMEMBERED = 256


class RemoteImages:
    """ImageFetcher for the URIs of artifact stores.

    The store is asked each time, with the rights of the job that wants the image: the cache gives nobody what he
    could not read himself. An image is downloaded again when the store tells of another version of it, and each time
    where it tells of none and the job pins no digest.
    """

    def __init__(self, access: ArtifactAccess, cache: Cache, rules: Rules = STRICT) -> None:
        self._access = access
        self._cache = cache
        self._rules = rules
        self._facts: OrderedDict[str, ImageFacts] = OrderedDict()
        self._lock = threading.Lock()

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. An image that this job may not read is one with a problem."""
        try:
            store = self._store(image, cargo)
            info = store.stat(image.uri)
            return None if info is None else self._of_version(store, image, info)
        except ArtifactMissing:
            return None
        except (InvalidInput, JobFault) as error:
            return ImageFacts(None, 0, str(error))

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher. Raises JobFault for one that the job may not read or that cannot be run."""
        try:
            return self._fetch(image, cargo)
        except InvalidInput as error:
            raise ArtifactMissing(f"image {error}") from None

    def _store(self, image: Image, cargo: Cargo) -> ArtifactStore:
        return self._access.by(cargo.access.get(image.uri))

    def _of_version(self, store: ArtifactStore, image: Image, info: ArtifactInfo) -> ImageFacts:
        key = _key(image, info)
        if key is None:
            return self._read(store, image, info)
        with self._lock:
            known = self._facts.get(key)
        if known is None:
            known = self._read(store, image, info)
            with self._lock:
                self._facts[key] = known
                if len(self._facts) > _MOST_REMEMBERED:
                    self._facts.popitem(last=False)
        return known

    def _read(self, store: ArtifactStore, image: Image, info: ArtifactInfo) -> ImageFacts:
        with store.open(image.uri) as stream:
            return facts_of(stream, info.size, self._cache.limit, self._rules)

    def _fetch(self, image: Image, cargo: Cargo) -> Path:
        store = self._store(image, cargo)
        info = store.stat(image.uri)
        if info is None:
            raise ArtifactMissing(f"{image.uri}: there is no such image")
        if info.size > self._cache.limit:
            raise HostFault(f"{image.uri}: its {info.size} bytes are more than [cache] size, {self._cache.limit}")
        key = _key(image, info)
        if key is None:
            return self._cache.put(lambda path: key_of(image.uri, self._make(store, image, info, path)), size=info.size)
        return self._cache.add(key, lambda path: self._make(store, image, info, path), size=info.size)

    def _make(self, store: ArtifactStore, image: Image, info: ArtifactInfo, path: Path) -> str:
        """Write the image to `path`, return the digest of what was downloaded."""
        stored = path.with_name(path.name + ".download")
        try:
            digest = _download(store, image, info, stored)
            take_in(image, stored, path, self._cache.limit, self._rules)
        finally:
            remove(stored)
        return digest


def _download(store: ArtifactStore, image: Image, info: ArtifactInfo, target: Path) -> str:
    with store.open(image.uri) as stream, target.open("wb") as file:
        content = Digested(chunks(stream))
        for piece in content:
            if content.size > info.size:
                break
            file.write(piece)
    # Replaced meanwhile, or cut off by a store that does not tell: neither must be kept under this version.
    if content.size != info.size or store.stat(image.uri) != info:
        raise StoreUnavailable(f"{image.uri}: it was changed while it was read, {info.size} bytes when that began")
    if image.sha256 not in (None, content.sha256):
        raise ArtifactMismatch(f"image {image.uri}: its SHA-256 is {content.sha256}, not {image.sha256}")
    return content.sha256


def _key(image: Image, info: ArtifactInfo) -> str | None:
    """Return the key of this version of the image; None where nothing tells it from another."""
    if info.version is None and image.sha256 is None:
        return None
    return key_of("image", image.uri, str(info.size), info.version or "", image.sha256 or "")
