"""The artifacts of an experiment: what is fetched, what is uploaded, what runs it, and with which rights.

Each has a directory of its name (its tag) beside the working directory, which is the one of `workspace`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agent.errors import Dropped
from agent.model.cargo import Access, Compression
from agent.studioml.credentials import Rights
from agent.studioml.durations import frequency
from agent.studioml.fields import Fields, shown
from agent.studioml.origin import Tagged
from agent.studioml.places import Place, Servers, is_archive, place_of, shown_url

WORKSPACE = "workspace"
OUTPUT = "output"
IMAGE = "_singularity"
METADATA = "_metadata"
RESULTS = "_results"
STATUS = "_status"
# They are the runner's own: no part of the job's directory comes from them or goes to them.
_OF_RUNNER = (IMAGE, METADATA, RESULTS, STATUS)
SHORTEST_PAUSE = 10.0  # seconds between two uploads of the same artifact
# Up to 250: while it is being fetched, its file has a longer name.
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,250}", re.ASCII)
_COMPRESSIONS: tuple[tuple[tuple[str, ...], Compression], ...] = (
    ((".tar.gz", ".tgz"), "gzip"),
    ((".tar.bz2", ".tbz2", ".tbz"), "bzip2"),
    ((".tar.xz", ".txz"), "xz"),
)
_IN_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,500}", re.ASCII)
_REGISTRIES = {"dockerhub": "docker", "docker": "docker", "shub": "shub"}


class Artifact(NamedTuple):
    """One artifact as the agent treats it. uri: of where it is, None where it cannot be reached.

    root: of its bucket, ending in "/"; name: of its file; access None = the agent's rights; pause: seconds between two
    uploads while the job runs, None = only at its end.
    """

    tag: str
    uri: str | None
    qualified: str
    mutable: bool
    unpack: bool = False
    name: str = ""
    root: str | None = None
    access: Access | None = None
    pause: float | None = None


class Reader:
    """Reads artifacts of one message."""

    def __init__(self, servers: Servers, rights: Rights, pause: float | None) -> None:
        """pause: seconds between two uploads of artifacts that do not say it themselves."""
        self._servers = servers
        self._rights = rights
        self._pause = pause

    def read(self, table: Fields) -> dict[str, Artifact]:
        """Return the artifacts by tag, without those that name no place. Raises Dropped."""
        found = {}
        for tag in table:
            if not _TAG.fullmatch(tag) or tag in (".", ".."):
                raise Dropped(f"{table.path}: {shown(tag)} is no name of an artifact", hint="letters, digits, _ . -")
            artifact = self._one(tag, table.table(tag) or Fields(f"{table.path}.{tag}", {}))
            if artifact is not None:
                found[tag] = artifact
        return found

    def _one(self, tag: str, fields: Fields) -> Artifact | None:
        mutable = fields.flag("mutable") or False
        url = fields.text("qualified") or fields.text("url")
        if url is None:
            return None
        image = _in_registry(url) if tag == IMAGE else None
        if image is not None:
            return Artifact(tag, image, url, mutable)
        try:
            place = place_of(url, fields.text("bucket"), fields.text("key"), self._servers)
        except Dropped as error:
            raise Dropped(f"{fields.path}: {error.what}", hint=error.hint) from None
        if place is None and not mutable:
            raise Dropped(f"{fields.path}: {shown_url(url)}", hint="URLs of s3, gs, http, https or file")
        return self._placed(tag, fields, url, mutable, place)

    def _placed(self, tag: str, fields: Fields, url: str, mutable: bool, place: Place | None) -> Artifact:
        if place is None:
            return Artifact(tag, None, url, mutable)
        access = self._rights.on(place, fields.table("credentials", secret=True))
        unpack = fields.flag("unpack")
        if unpack is None:
            unpack = is_archive(fields.text("key") or "") or is_archive(place.name)
        return Artifact(
            tag=tag,
            uri=_own_uri(place) if access is None else place.uri,
            qualified=url,
            mutable=mutable,
            unpack=unpack,
            name=place.name,
            root=place.root,
            access=access,
            pause=self._pause_of(fields) if mutable else None,
        )

    def _pause_of(self, fields: Fields) -> float | None:
        own = fields.number("saveFrequency") or 0.0
        return max(own, SHORTEST_PAUSE) if own > 0 else self._pause


def workspace_pause(config: Fields) -> float | None:
    """Return the seconds between two uploads that `config` wants. Raises Dropped."""
    wanted = frequency(config, "saveWorkspaceFrequency")
    return None if wanted is None else max(wanted, SHORTEST_PAUSE)


def _own_uri(place: Place) -> str:
    """Return the URI by which the agent uses its own rights: on its own server, where none is named."""
    return place.uri if place.named else place.uri.replace(f"s3+https://{place.server}/", "s3://", 1)


def _in_registry(url: str) -> str | None:
    """Return the URI of an image in a registry, None for one that is somewhere else. Raises Dropped."""
    scheme, _, name = url.partition("://")
    known = _REGISTRIES.get(scheme.lower())
    if known is not None and (not _IN_REGISTRY.fullmatch(name) or ".." in name or "//" in name):
        raise Dropped(f"experiment.artifacts.{IMAGE}: {shown(url)}", hint='such as "dockerhub://python:3.11"')
    return f"{known}://{name}" if known else None


# --- what becomes of them -------------------------------------------------------------------------------------------


def inputs(artifacts: Mapping[str, Artifact], home: str) -> list[dict[str, Any]]:
    """Return the inputs of the native job. home: the directory that has those of the tags."""
    return [
        {"uri": each.uri, "path": input_path(each, home), "unpack": each.unpack}
        for each in artifacts.values()
        if _is_fetched(each)
    ]


def input_path(artifact: Artifact, home: str) -> str:
    """Return where an artifact is fetched to, below the job's directory."""
    directory = f"{home}/{artifact.tag}"
    return directory if artifact.unpack else f"{directory}/{artifact.name}"


def optional(artifacts: Mapping[str, Artifact], home: str) -> tuple[str, ...]:
    """Return the paths of inputs that may be missing: what is to be uploaded may not be there yet."""
    return tuple(input_path(each, home) for each in artifacts.values() if _is_fetched(each) and each.mutable)


def kept(artifacts: Mapping[str, Artifact], home: str) -> tuple[str, ...]:
    """Return the paths of inputs whose URI names their content."""
    return tuple(
        input_path(each, home)
        for each in artifacts.values()
        if _is_fetched(each) and not each.mutable and "/blobstore/" in urlsplit(each.uri or "").path
    )


def directories(artifacts: Mapping[str, Artifact], home: str) -> tuple[str, ...]:
    """Return the directories that a job finds, whatever is fetched into them."""
    return tuple(f"{home}/{tag}" for tag in artifacts if tag not in (IMAGE, RESULTS, STATUS))


def _is_fetched(artifact: Artifact) -> bool:
    return artifact.uri is not None and artifact.tag not in _OF_RUNNER


def uploaded(artifacts: Mapping[str, Artifact]) -> Iterator[Artifact]:
    """Yield the artifacts that are uploaded, in the order in which that is done."""
    for tag in sorted(artifacts):
        artifact = artifacts[tag]
        if artifact.mutable and artifact.uri is not None and tag not in _OF_RUNNER:
            yield artifact


def outputs(artifacts: Mapping[str, Artifact], home: str) -> list[dict[str, Any]]:
    """Return the outputs of the native job."""
    return [{"path": f"{home}/{each.tag}", "uri": each.uri, "every": each.pause} for each in uploaded(artifacts)]


def direct(artifacts: Mapping[str, Artifact], home: str) -> dict[str, Compression]:
    """Return how the archives are compressed that become of the outputs, by their paths."""
    return {f"{home}/{each.tag}": _compression(each.name) for each in uploaded(artifacts)}


def _compression(name: str) -> Compression:
    """Return the compression that a file name promises."""
    return next((kind for ends, kind in _COMPRESSIONS if name.lower().endswith(ends)), "none")


def access(artifacts: Mapping[str, Artifact]) -> dict[str, Access]:
    """Return the rights that the message brings, by URI."""
    known = {each.uri: each.access for each in artifacts.values() if each.uri is not None and each.access is not None}
    prefix, metadata = metadata_uri(artifacts), artifacts.get(METADATA)
    if prefix is not None and metadata is not None and metadata.access is not None:
        known[prefix] = metadata.access
    return known


def metadata_uri(artifacts: Mapping[str, Artifact]) -> str | None:
    """Return the prefix below which files with metadata go, in the bucket of the artifact `_metadata`."""
    artifact = artifacts.get(METADATA)
    return None if artifact is None or artifact.root is None else f"{artifact.root}metadata/"


def uri_of(artifacts: Mapping[str, Artifact], tag: str) -> str | None:
    """Return where an artifact is, None where there is none or it cannot be reached."""
    artifact = artifacts.get(tag)
    return None if artifact is None else artifact.uri


def tagged(artifacts: Mapping[str, Artifact], home: str) -> dict[str, Tagged]:
    """Return the artifacts as their observer knows them."""
    return {
        tag: Tagged(each.uri, each.qualified, each.mutable, None if tag == IMAGE else f"{home}/{tag}")
        for tag, each in artifacts.items()
    }
