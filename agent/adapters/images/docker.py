"""Images of registries (docker://) and of Singularity Hub (shub://), built into files of the cache by the runtime."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.adapters.images.asked import Asked
from agent.adapters.images.packed import check_image, check_pin
from agent.adapters.images.registry import Platform, Registries
from agent.cache import Cache, key_of, remove
from agent.errors import (
    ArtifactMismatch,
    ArtifactMissing,
    HostFault,
    InvalidInput,
    JobFault,
    RuntimeUnavailable,
    StoreUnavailable,
    Unavailable,
)
from agent.images.formats import BARE_ARCH
from agent.images.reference import parse_reference
from agent.images.sif import STRICT, Rules
from agent.model.cargo import NOTHING, Access, Cargo
from agent.model.job import Image
from agent.ports import Clock, ImageFacts
from agent.process import run

log = logging.getLogger(__name__)

BUILD_TIMEOUT = 3600.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHUB = re.compile(
    r"shub://[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*){1,2}(?::[A-Za-z0-9_.-]+)?(?:@[0-9a-f]{32,64})?"
)
_NO_SHUB = "no image of Singularity Hub, such as shub://USER/NAME:TAG"
_PIN = "pin it by docker://NAME@sha256:..., the digest of its manifest"

# What the runtime prints, in small letters -> what it means. Anything else is this host's trouble.
_MISSING = ("manifest unknown", "name unknown", "name_unknown", "404 not found", "not found in singularity hub")
_REFUSED = ("unauthorized", "access to the resource is denied", "forbidden")
_AWAY = (
    *("connection refused", "connection reset", "no such host", "network is unreachable", "no route to host", "eof"),
    *("timeout", "deadline exceeded", "toomanyrequests", "too many requests", "tls:", "x509:", "https client"),
    *("http status: 5", "temporary failure", "blob unknown", "no response"),
)
_FULL = "no space left on device"


class RuntimeTool:
    """The runtime's own command to fetch images. It needs no rights but those of the agent's user."""

    def __init__(self, program: Callable[[], str | None], timeout: float = BUILD_TIMEOUT) -> None:
        """`program` returns the runtime's path, or None where none is installed; timeout: seconds for one image."""
        self._program = program
        self._timeout = timeout

    def pull(self, uri: str, path: Path, *options: str, access: Access | None = None) -> None:
        """Write the image at `uri` to `path`; what is needed on the way lies beside it, and is removed.

        Raises StoreUnavailable, ArtifactMissing, JobFault, HostFault, RuntimeUnavailable.
        """
        program = self._program()
        if program is None:
            raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
        folder = path.with_name(path.name + ".build")
        folder.mkdir(mode=0o700)
        log.info("image is being built", extra={"event": "image-build", "uri": uri})
        argv = [program, "pull", "--disable-cache", *options, str(path), uri]
        try:
            done = run(argv, self._timeout, _environment(folder, access))
        except Unavailable as error:
            raise StoreUnavailable(f"image {uri}: {error}") from None
        finally:
            remove(folder)
        if done.status != 0:
            raise _failure(uri, done.err or done.out)
        log.info("image is built", extra={"event": "image-built", "uri": uri, "bytes": path.stat().st_size})


def _environment(folder: Path, access: Access | None) -> dict[str, str]:
    """Nothing of the agent's own: no folder of its user, no credentials but the job's."""
    own = {"CACHEDIR": str(folder), "TMPDIR": str(folder)}
    if access is not None and access.user is not None:
        own |= {"DOCKER_USERNAME": access.user, "DOCKER_PASSWORD": access.password or ""}
    named = {f"{prefix}_{name}": value for prefix in ("APPTAINER", "SINGULARITY") for name, value in own.items()}
    return {"PATH": _PATH, "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", **named}


def _failure(uri: str, output: str) -> Exception:
    words = " ".join(output.replace(uri, "it").split())[-500:]
    small = words.lower()
    if _FULL in small:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for kind, signs in ((ArtifactMissing, _MISSING), (JobFault, _REFUSED), (StoreUnavailable, _AWAY)):
        if any(sign in small for sign in signs):
            return kind(f"image {uri}: {words}")
    return HostFault(f"image {uri} could not be built here: {words}")


class DockerImages:
    """ImageFetcher for docker:// URIs.

    A name is asked for again each minute: a tag that moved is fetched anew, an image that did not is in the cache. A
    name with images for several architectures gives the one that is first in `archs`; where it has none of them, the
    facts tell of another one, which no host of this kind takes.
    """

    def __init__(
        self,
        cache: Cache,
        registries: Registries,
        tool: RuntimeTool,
        archs: Callable[[], Sequence[str]],
        clock: Clock,
        rules: Rules = STRICT,
    ) -> None:
        """`archs` returns the architectures that may run here, best first."""
        self._cache = cache
        self._registries = registries
        self._tool = tool
        self._archs = archs
        self._rules = rules
        self._asked: Asked[tuple[Platform, ...] | None] = Asked(clock)

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. The size is not known before the image is built: 0."""
        try:
            found = self._platforms(image, cargo)
            if found is None:
                return None
            chosen = self._chosen(found)
        except (InvalidInput, JobFault) as error:
            return ImageFacts(None, 0, str(error))
        if image.sha256 is not None:
            return ImageFacts(None, 0, f"sha256 cannot pin what is built here; {_PIN}")
        return ImageFacts((chosen or found[0]).arch, 0) if found else ImageFacts(None, 0, "it has no image for Linux")

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher: what the runtime made of it."""
        try:
            found = self._platforms(image, cargo)
            name = parse_reference(image.uri)
        except InvalidInput as error:
            raise ArtifactMissing(f"image {error}") from None
        chosen = self._chosen(found or ())
        if chosen is None:
            raise ArtifactMissing(f"{image.uri}: there is no such image for {', '.join(self._archs())}")
        if image.sha256 is not None:
            raise ArtifactMismatch(f"{image.uri}: sha256 cannot pin what is built here; {_PIN}")
        uri, access = name.at(chosen.digest), cargo.access.get(image.uri)
        options = ["--arch", chosen.arch, *(["--no-https"] if self._registries.is_insecure(name.host) else [])]

        def build(path: Path) -> None:
            self._tool.pull(uri, path, *options, access=access)
            check_image(image, path, self._rules)

        return self._cache.add(key_of("docker", uri), build)

    def _chosen(self, platforms: Sequence[Platform]) -> Platform | None:
        for arch in self._archs():
            fitting = [platform for platform in platforms if platform.arch == arch]
            if fitting:
                return max(fitting, key=lambda platform: platform.variant)
        return None

    def _platforms(self, image: Image, cargo: Cargo) -> tuple[Platform, ...] | None:
        access = cargo.access.get(image.uri)
        return self._asked.get(
            image.uri, access, lambda: self._registries.platforms(parse_reference(image.uri), access)
        )


class ShubImages:
    """ImageFetcher for shub:// URIs.

    Singularity Hub takes no images any more since 2021: what is left of it is for amd64 and never changes, so nobody is
    asked before the image is fetched.
    """

    def __init__(self, cache: Cache, tool: RuntimeTool, rules: Rules = STRICT) -> None:
        self._cache = cache
        self._tool = tool
        self._rules = rules

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher."""
        return (
            ImageFacts(BARE_ARCH, 0) if _SHUB.fullmatch(image.uri) else ImageFacts(None, 0, f"{image.uri}: {_NO_SHUB}")
        )

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher."""
        if not _SHUB.fullmatch(image.uri):
            raise ArtifactMissing(f"image {image.uri}: {_NO_SHUB}")
        path = self._cache.add(key_of("shub", image.uri), lambda path: self._build(image, path))
        check_pin(image, path)
        return path

    def _build(self, image: Image, path: Path) -> None:
        self._tool.pull(image.uri, path)
        check_image(image, path, self._rules)
