"""References to images in a registry: docker://[HOST[:PORT]/]PATH[:TAG][@DIGEST], as Docker reads them.

Those to SIF files in a registry are written in the same way, with oras:// before them.
"""

from __future__ import annotations

import re

import msgspec

from agent.errors import InvalidInput

HUB = "docker.io"
_HUB_NAMES = (HUB, "index.docker.io", "registry-1.docker.io")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
)
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SUCH_AS = {"docker": "such as docker://ubuntu:24.04", "oras": "such as oras://ghcr.io/team/image:1.0"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True):
    """One image: the registry it lies in, its path there, and its tag or the digest of its manifest."""

    host: str
    path: str
    tag: str = "latest"
    digest: str | None = None
    scheme: str = "docker"

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    def at(self, digest: str) -> str:
        """Return the URI of the manifest with this digest."""
        return f"{self.scheme}://{self.host}/{self.path}@{digest}"


def parse_reference(uri: str) -> Reference:
    """Return what a docker:// or oras:// URI refers to. Raises InvalidInput."""
    scheme = "oras" if uri.startswith("oras://") else "docker"
    name = uri.removeprefix(f"{scheme}://")
    host, slash, rest = name.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        host, rest = HUB, name
    rest, _, digest = rest.partition("@")
    path, _, tag = rest.partition(":")
    host = HUB if host in _HUB_NAMES else host
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    found = Reference(host, path, tag or "latest", digest or None, scheme)
    parts = ((_HOST, host), (_PATH, path), (_TAG, found.tag), (_DIGEST, found.digest))
    odd = [part for pattern, part in parts if part is not None and not pattern.fullmatch(part)]
    if odd or name == uri or rest.endswith(":") or name.endswith("@"):
        raise InvalidInput(f'"{uri}" is no image of a registry', hint=_SUCH_AS[scheme])
    return found
