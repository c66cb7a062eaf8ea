"""All images as one: the scheme of a URI decides who has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.errors import ArtifactMissing
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import ImageFacts, ImageFetcher

Maker = Callable[[], ImageFetcher]


class ImageRouter:
    """An ImageFetcher over one fetcher per scheme ("file", "docker"), made when an image of it is first asked for.

    brought: has the files on which a job brings rights of its own; None = nobody. The operator's directories, which
    those of `makers` may read, are not meant for it.
    """

    def __init__(self, makers: Mapping[str, Maker], brought: Maker | None = None) -> None:
        self._makers = makers
        self._brought = brought
        self._made: dict[Maker, ImageFetcher] = {}
        self._lock = threading.Lock()

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher."""
        fetcher = self._fetcher(image, cargo)
        return ImageFacts(None, 0, self._unknown(image)) if fetcher is None else fetcher.facts(image, cargo)

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher."""
        fetcher = self._fetcher(image, cargo)
        if fetcher is None:
            raise ArtifactMissing(f"image {self._unknown(image)}")
        return fetcher.fetch(image, cargo)

    def _fetcher(self, image: Image, cargo: Cargo) -> ImageFetcher | None:
        scheme = image.uri.partition(":")[0]
        maker = self._brought if scheme == "file" and image.uri in cargo.access else self._makers.get(scheme)
        if maker is None:
            return None
        with self._lock:
            if maker not in self._made:
                self._made[maker] = maker()
            return self._made[maker]

    def _unknown(self, image: Image) -> str:
        return f'"{image.uri}": nobody has images of this scheme (known: {", ".join(sorted(self._makers))})'
