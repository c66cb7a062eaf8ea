"""Where artifacts and images come from and go to, by whose rights, and what is kept of them on this host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.access import StoreAccess
from agent.adapters.files import FileArtifacts
from agent.adapters.images import FileImages, ImageRouter, RemoteImages
from agent.cache import Cache, linked
from agent.config import Config
from agent.config.places import Bucket
from agent.config.sections import directory_of
from agent.images.sif import Rules
from agent.model.capabilities import Capabilities
from agent.ports import ArtifactAccess, ArtifactStore, Clock, ImageFetcher
from agent.wiring.host import runtime_path

if TYPE_CHECKING:
    from agent.adapters.s3 import S3Stores

GIB = 1024**3
# Of the disk, where the configuration gives no size: boards have small cards, and servers need no more than this.
CACHE_SHARE, LARGEST_CACHE = 0.2, 50 * GIB


def access_of(config: Config, s3: Callable[[], S3Stores]) -> ArtifactAccess:
    """Return all artifact stores. s3: returns the stores on the configured server; it may raise StoreUnavailable."""
    roots = [queue.results_root for queue in config.queues]
    policy = config.policy
    prefixes = (*policy.input_prefixes, *policy.output_prefixes, *policy.image_prefixes)
    own = _own(config, roots, prefixes, s3)
    return StoreAccess(own, prefixes, policy.brought_prefixes, s3, config.s3.ca_file, config.s3.ca)


def _own(
    config: Config, roots: Sequence[Path | Bucket], prefixes: Sequence[str], s3: Callable[[], S3Stores]
) -> dict[str, ArtifactStore]:
    local = [root for root in roots if isinstance(root, Path)]
    # Images are read by who has them, not as artifacts: jobs must not be given files that only may be run.
    local += directories((*config.policy.input_prefixes, *config.policy.output_prefixes))
    stores: dict[str, ArtifactStore] = {"file": FileArtifacts(local)}
    buckets = [root.as_uri() for root in roots if isinstance(root, Bucket)]
    buckets += [prefix for prefix in prefixes if prefix.startswith("s3:")]
    if buckets:
        stores["s3"] = s3().artifacts(buckets)
    objects = [prefix for prefix in prefixes if prefix.startswith("gs:")]
    if objects:
        from agent.adapters.gcs import GcsArtifacts, connector

        stores["gs"] = GcsArtifacts(connector(config.gcs.endpoint, config.gcs.credentials_file), objects)
    return stores


def cache_of(config: Config, storage_total: int | None, clock: Clock) -> Cache:
    """Return what this host keeps of images, inputs and environments. storage_total: bytes of its disk."""
    share = min(LARGEST_CACHE, int((storage_total or 0) * CACHE_SHARE))
    limit = share if config.cache.size is None else config.cache.size
    return Cache(config.state_dir / "cache", lambda: limit, linked(config.state_dir / "attempts"), clock)


def images_of(
    config: Config, access: ArtifactAccess, cache: Cache, profile: Callable[[], Capabilities], clock: Clock
) -> ImageFetcher:
    """Return all sources of images. profile: returns what this host is now."""
    rules = Rules(overlay=config.policy.image_overlay)

    def archs() -> tuple[str, ...]:
        runtime = profile().runtime
        emulated = (arch for arch in config.runtime.emulate if arch in (runtime.emulated or ()))
        return (*(runtime.archs or ()), *emulated)

    def docker() -> ImageFetcher:
        from agent.adapters.images.docker import DockerImages, RuntimeTool
        from agent.adapters.images.registry import Registries

        registries = Registries(config.runtime.insecure_registries)
        return DockerImages(cache, registries, RuntimeTool(lambda: runtime_path(config)), archs, clock, rules)

    def oras() -> ImageFetcher:
        from agent.adapters.images.oras import OrasImages
        from agent.adapters.images.registry import Registries

        return OrasImages(cache, Registries(config.runtime.insecure_registries), clock, rules)

    def shub() -> ImageFetcher:
        from agent.adapters.images.docker import RuntimeTool, ShubImages

        return ShubImages(cache, RuntimeTool(lambda: runtime_path(config)), rules)

    def venv() -> ImageFetcher:
        from agent.adapters.venv import VenvImages

        return VenvImages(cache, lambda: profile().cpu.arch)

    def remote() -> ImageFetcher:
        return RemoteImages(access, cache, rules)

    copied = config.images.signatures != "off"
    files = FileImages(directories(config.image_prefixes), cache, rules, copied=copied)
    fetchers = {
        "file": lambda: files,
        **dict.fromkeys(("s3", "s3+http", "s3+https", "http", "https", "gs"), remote),
        "docker": docker,
        "oras": oras,
        "shub": shub,
        "venv": venv,
    }
    return _signed(config, ImageRouter(fetchers, brought=remote))


def _signed(config: Config, images: ImageFetcher) -> ImageFetcher:
    """Return the images behind what is asked of their signatures."""
    rule, keys = config.images.signatures, config.images.keys_dir
    if rule == "off" or keys is None:
        return images
    from agent.adapters.images.signed import Signatures, SignedImages

    return SignedImages(images, Signatures(Path(keys), lambda: runtime_path(config)), rule)


def directories(prefixes: Sequence[str]) -> list[Path]:
    """Return the directories that the file:// prefixes among `prefixes` name."""
    return [directory_of(prefix) for prefix in prefixes if prefix.startswith("file:")]
