"""Container images as registries hold them, pushed over their HTTP API."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_SIF = "application/vnd.sylabs.sif.layer.v1.sif"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Pushed(NamedTuple):
    """What a registry has now: the digest of the manifest, and the manifest's size in bytes."""

    digest: str
    size: int


def layer_of(tree: Path) -> bytes:
    """Return the files below `tree` as one layer."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for child in sorted(tree.iterdir()):
            archive.add(child, child.name, filter=_as_root)
    return gzip.compress(packed.getvalue(), 1)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    return member


class Repository:
    """One repository of a registry at `url`, "http://host:port"."""

    def __init__(self, url: str, path: str) -> None:
        self.path = path
        self._host = urlsplit(url).netloc

    def push(self, tag: str, layer: bytes, arch: str, **config: Any) -> Pushed:
        """Push an image of one layer; `config` are more fields of its configuration."""
        about = {
            "architecture": arch,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
            **config,
        }
        body = json.dumps(about).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": _CONFIG, **self._blob(body)},
            "layers": [{"mediaType": _LAYER, **self._blob(layer)}],
        }
        return self._manifest(tag, MANIFEST, manifest)

    def push_sif(self, tag: str, content: bytes, layers: int = 1) -> Pushed:
        """Push a SIF file as `apptainer push` does, `layers` times in the same manifest."""
        manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.sylabs.sif.config.v1+json", **self._blob(b"{}")},
            "layers": [{"mediaType": _SIF, **self._blob(content)}] * layers,
        }
        return self._manifest(tag, MANIFEST, manifest)

    def push_index(self, tag: str, images: dict[str, Pushed]) -> Pushed:
        """Push a list of images by architecture, with an attestation as build tools add it."""
        entries: list[dict[str, Any]] = [
            {"mediaType": MANIFEST, "digest": image.digest, "size": image.size, "platform": _platform(arch)}
            for arch, image in images.items()
        ]
        first = next(iter(images.values()))
        unknown = {"architecture": "unknown", "os": "unknown"}
        entries.insert(0, {"mediaType": MANIFEST, "digest": first.digest, "size": first.size, "platform": unknown})
        return self._manifest(tag, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def _blob(self, body: bytes) -> dict[str, Any]:
        digest = _digest(body)
        place = self._call("POST", f"/v2/{self.path}/blobs/uploads/")
        parts = urlsplit(place)
        joint = "&" if parts.query else "?"
        self._call("PUT", f"{parts.path}?{parts.query}{joint}digest={digest}", body, "application/octet-stream")
        return {"digest": digest, "size": len(body)}

    def _manifest(self, tag: str, kind: str, manifest: dict[str, Any]) -> Pushed:
        body = json.dumps(manifest).encode()
        self._call("PUT", f"/v2/{self.path}/manifests/{tag}", body, kind)
        return Pushed(_digest(body), len(body))

    def _call(self, method: str, path: str, body: bytes = b"", kind: str = "") -> str:
        """Return the Location of the answer."""
        connection = http.client.HTTPConnection(self._host, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            words = answer.read()
            assert answer.status in (201, 202), (method, path, answer.status, words)
            return answer.getheader("Location") or ""
        finally:
            connection.close()


def _platform(arch: str) -> dict[str, str]:
    return {"architecture": arch, "os": "linux", **({"variant": "v8"} if arch == "arm64" else {})}


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
