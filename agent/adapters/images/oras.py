"""SIF files in registries (oras://), fetched by this agent itself: they come whole, and go on where a line broke."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

from agent.adapters.images.asked import Asked
from agent.adapters.images.packed import facts_of, take_in
from agent.adapters.images.registry import Registries, SifLayer
from agent.cache import Cache, key_of, remove
from agent.errors import ArtifactMismatch, ArtifactMissing, HostFault, InvalidInput, JobFault, StoreUnavailable
from agent.images.formats import HEAD
from agent.images.reference import parse_reference
from agent.images.sif import STRICT, Rules
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import Clock, ImageFacts
from agent.transfer.stream import Digested, chunks

_MOST_REMEMBERED = 256
_BUFFER_BYTES = 1024**2


class OrasImages:
    """ImageFetcher for oras:// URIs, whose manifests name one SIF file by its digest.

    A name is asked for again each minute, with the rights of the job that wants the image; the file behind it is
    downloaded once.
    """

    def __init__(self, cache: Cache, registries: Registries, clock: Clock, rules: Rules = STRICT) -> None:
        self._cache = cache
        self._registries = registries
        self._rules = rules
        self._asked: Asked[SifLayer | None] = Asked(clock)
        self._facts: OrderedDict[SifLayer, ImageFacts] = OrderedDict()
        self._lock = threading.Lock()

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher."""
        try:
            layer = self._layer(image, cargo)
            if layer is None:
                return None
            _check_pin(image, layer)
            return self._of_layer(image, layer, cargo)
        except (InvalidInput, JobFault) as error:
            return ImageFacts(None, 0, str(error))

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher."""
        try:
            layer = self._layer(image, cargo)
        except InvalidInput as error:
            raise ArtifactMissing(f"image {error}") from None
        if layer is None:
            raise ArtifactMissing(f"{image.uri}: there is no such image")
        _check_pin(image, layer)
        if layer.size > self._cache.limit:
            raise HostFault(f"{image.uri}: its {layer.size} bytes are more than [cache] size, {self._cache.limit}")
        return self._cache.add(
            key_of("oras", layer.sha256), lambda path: self._make(image, layer, cargo, path), size=layer.size
        )

    def _layer(self, image: Image, cargo: Cargo) -> SifLayer | None:
        access = cargo.access.get(image.uri)
        return self._asked.get(
            image.uri, access, lambda: self._registries.sif_layer(parse_reference(image.uri), access)
        )

    def _of_layer(self, image: Image, layer: SifLayer, cargo: Cargo) -> ImageFacts:
        with self._lock:
            known = self._facts.get(layer)
        if known is None:
            start = self._registries.start_of(parse_reference(image.uri), layer, cargo.access.get(image.uri), HEAD)
            known = facts_of(io.BytesIO(start), layer.size, self._cache.limit, self._rules)
            with self._lock:
                self._facts[layer] = known
                if len(self._facts) > _MOST_REMEMBERED:
                    self._facts.popitem(last=False)
        return known

    def _make(self, image: Image, layer: SifLayer, cargo: Cargo, path: Path) -> None:
        stored = path.with_name(path.name + ".download")
        try:
            self._download(image, layer, cargo, stored)
            take_in(image, stored, path, self._cache.limit, self._rules)
        finally:
            remove(stored)

    def _download(self, image: Image, layer: SifLayer, cargo: Cargo, target: Path) -> None:
        name, access = parse_reference(image.uri), cargo.access.get(image.uri)
        reader = self._registries.open_layer(name, layer, access, threading.Event().wait)
        with io.BufferedReader(reader, _BUFFER_BYTES) as stream, target.open("wb") as file:
            content = Digested(chunks(stream))
            for piece in content:
                if content.size > layer.size:
                    break
                file.write(piece)
        if (content.sha256, content.size) != (layer.sha256, layer.size):
            what = f"{content.size} bytes with the SHA-256 {content.sha256}"
            raise StoreUnavailable(f"{image.uri}: the registry sent {what}, not {layer.size} with {layer.sha256}")


def _check_pin(image: Image, layer: SifLayer) -> None:
    if image.sha256 not in (None, layer.sha256):
        raise ArtifactMismatch(f"image {image.uri}: its SHA-256 is {layer.sha256}, not {image.sha256}")
