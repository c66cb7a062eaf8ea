"""What a registry tells of an image: version 2 of the HTTP API of Docker and OCI registries, as far as it is needed."""

from __future__ import annotations

import hashlib
import io
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import urllib3

from agent.adapters.http.pool import make_guarded_pool
from agent.adapters.http.reader import ResumingReader
from agent.adapters.http.transport import RETRIED_STATUSES, Failure, translated
from agent.errors import InvalidInput, JobFault, StoreUnavailable
from agent.images.reference import HUB, Reference
from agent.model.cargo import Access

HUB_API = "registry-1.docker.io"
_MOST_BYTES = 4 * 1024**2
_FORMS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
_HEX = re.compile(r"[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_MOST_HOPS = 4
_ELSEWHERE = (301, 302, 303, 307, 308)
# What tripping over JSON of another shape raises.
_ODD = (ValueError, KeyError, TypeError, AttributeError)


class Platform(msgspec.Struct, frozen=True):
    """One image behind a name: its architecture in Go names, its variant ("v7"), and the digest of its manifest."""

    arch: str
    variant: str
    digest: str


class SifLayer(msgspec.Struct, frozen=True):
    """The SIF file behind a name: its SHA-256 as hexadecimal digits, and its bytes."""

    sha256: str
    size: int


class Registries:
    """All registries. Raises StoreUnavailable, and JobFault when one denies access."""

    def __init__(self, insecure: Sequence[str] = ()) -> None:
        """insecure: "host:port" of registries without TLS; those on this host never need it."""
        self._insecure = frozenset(insecure)
        self._pool = make_guarded_pool()

    def is_insecure(self, host: str) -> bool:
        """Say whether the registry is spoken to without TLS."""
        return host in self._insecure or (host.rpartition(":")[0] or host) in _LOCAL

    def platforms(self, image: Reference, access: Access | None = None) -> tuple[Platform, ...] | None:
        """Return the Linux images behind the name; None when there is no such name."""
        session, body = self._manifest(image, access)
        if body is None:
            return None
        try:
            return _platforms(session, json.loads(body), _digest(body))
        except _ODD:
            raise StoreUnavailable(f"{session.where}: the answer is no registry's; check the address") from None

    def sif_layer(self, image: Reference, access: Access | None = None) -> SifLayer | None:
        """Return the SIF file behind the name, None when there is no such name. InvalidInput: it is another thing."""
        session, body = self._manifest(image, access)
        if body is None:
            return None
        try:
            return _sif_layer(session, json.loads(body))
        except _ODD:
            raise StoreUnavailable(f"{session.where}: the answer is no registry's; check the address") from None

    def start_of(self, image: Reference, layer: SifLayer, access: Access | None, size: int) -> bytes:
        """Return the first `size` bytes of the file; no more are asked for."""
        session = self._session(image, access)
        response = session.open(f"blobs/sha256:{layer.sha256}", {"Range": f"bytes=0-{size - 1}"})
        try:
            with translated(session.where):
                return response.read(size, decode_content=False)
        finally:
            response.close()

    def open_layer(
        self, image: Reference, layer: SifLayer, access: Access | None, wait: Callable[[float], object]
    ) -> io.RawIOBase:
        """Return a stream of the file, which goes on where its connection broke. wait: waits that many seconds."""
        session = self._session(image, access)
        path, tag = f"blobs/sha256:{layer.sha256}", f'"{layer.sha256}"'

        def get(headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
            # Its name is the digest of the content: there is no other version, whatever the server says of tags.
            response = session.open(path, {name: value for name, value in headers.items() if name == "Range"})
            response.headers["ETag"] = tag
            return response

        return ResumingReader(get, session.where, wait, "If-Range")

    def _session(self, image: Reference, access: Access | None) -> _Session:
        return _Session(self._pool, image, access or Access(), plain=self.is_insecure(image.host))

    def _manifest(self, image: Reference, access: Access | None) -> tuple[_Session, bytes | None]:
        """Return the manifest behind the name, which has the digest that the name tells; None when there is none."""
        session = self._session(image, access)
        body = session.get(f"manifests/{image.version}", {"Accept": ", ".join(_FORMS)})
        if body is not None and image.digest not in (None, _digest(body)):
            raise StoreUnavailable(f"{session.where}: what came is not what has the digest {image.digest}")
        return session, body


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _sif_layer(session: _Session, manifest: Any) -> SifLayer:
    if "manifests" in manifest:
        raise InvalidInput(f"{session.where} is a list of images", hint="name one of them by its tag or digest")
    layers = [layer for layer in manifest["layers"] if layer["mediaType"] == SIF_LAYER]
    if len(layers) != 1 or len(manifest["layers"]) != 1:
        kinds = ", ".join(sorted({str(layer["mediaType"]) for layer in manifest["layers"]})) or "nothing"
        hint = "oras:// is for files that `apptainer push` put there, docker:// for other images"
        raise InvalidInput(f"{session.where} is no single SIF file; it has {kinds}", hint=hint)
    kind, _, digest = layers[0]["digest"].partition(":")
    if kind != "sha256" or not _HEX.fullmatch(digest):
        raise ValueError
    return SifLayer(digest, max(0, int(layers[0]["size"])))


def _platforms(session: _Session, manifest: Any, digest: str) -> tuple[Platform, ...]:
    if not isinstance(manifest, dict):
        raise TypeError
    if "manifests" in manifest:
        entries = [(each.get("platform") or {}, str(each["digest"])) for each in manifest["manifests"]]
    elif "layers" in manifest:
        config = session.get(f"blobs/{manifest['config']['digest']}", {})
        entries = [(json.loads(config or b"{}"), digest)]
    else:
        raise JobFault(f"{session.where}: its manifest has a form that is not supported any more; push it anew")
    # An index lists attestations, too, whose platform is "unknown".
    return tuple(
        Platform(str(about["architecture"]), str(about.get("variant", "")), digest)
        for about, digest in entries
        if about.get("os") == "linux" and about.get("architecture")
    )


class _Session:
    """Asks one registry for one image, and gets a token for it when it must."""

    def __init__(self, pool: urllib3.PoolManager, image: Reference, access: Access, *, plain: bool) -> None:
        joint = ":" if image.digest is None else "@"
        self.where = f"{image.scheme}://{image.host}/{image.path}{joint}{image.version}"
        self._pool = pool
        self._access = access
        self._plain = plain
        host = HUB_API if image.host == HUB else image.host
        self._base = f"{'http' if plain else 'https'}://{host}/v2/{image.path}"
        self._rights: dict[str, str] = {}

    def get(self, path: str, headers: Mapping[str, str]) -> bytes | None:
        """Return the body of the answer; None when there is nothing."""
        url = f"{self._base}/{path}"
        status, body, challenge = self._request(url, {**headers, **self._rights})
        if status == 401 and not self._rights:
            self._rights = self._authorized(challenge)
            status, body, _ = self._request(url, {**headers, **self._rights})
        return None if status == 404 else self._checked(status, body)

    def open(self, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Return the answer, 200 or 206, its body still to be read. Raises Failure, too."""
        url = f"{self._base}/{path}"
        response = self._answer(url, {**headers, **self._rights})
        if response.status == 401:
            # Nobody is known yet, or the token has run out, which on a long way happens in the middle.
            response.close()
            self._rights = self._authorized(response.headers.get("WWW-Authenticate", ""))
            response = self._answer(url, {**headers, **self._rights})
        if response.status in (200, 206):
            return response
        response.close()
        if response.status in RETRIED_STATUSES or response.status == 404:
            words = f"{self.where}: the registry answers with HTTP status {response.status} for the file of the image"
            raise Failure(words, response.status, transient=response.status != 404)
        self._checked(response.status, b"")
        raise StoreUnavailable(f"{self.where}: the registry answers with HTTP status {response.status}")

    def _checked(self, status: int, body: bytes) -> bytes:
        if status in (401, 403):
            raise JobFault(f"{self.where}: the registry denies access: there is no such image, or it is private")
        if status == 429:
            raise StoreUnavailable(f"{self.where}: the registry limits how often it is asked; it is asked again later")
        if status != 200 or len(body) > _MOST_BYTES:
            raise StoreUnavailable(f"{self.where}: the registry answers with HTTP status {status}, {len(body)} bytes")
        return body

    def _authorized(self, challenge: str) -> dict[str, str]:
        """Return the header with the rights that the registry asks for."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "bearer":
            return self._basic()
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.pop("realm", "")
        if not self._is_safe(realm):
            raise JobFault(f'{self.where}: the registry names "{realm}" as its source of tokens, which is not safe')
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        status, body, _ = self._request(f"{realm}?{query}", self._basic())
        answer = json.loads(self._checked(status, body))
        return {"Authorization": f"Bearer {answer.get('token') or answer['access_token']}"}

    def _basic(self) -> dict[str, str]:
        if self._access.user is None:
            return {}
        words = f"{self._access.user}:{self._access.password or ''}".encode()
        return {"Authorization": f"Basic {b64encode(words).decode()}"}

    def _request(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        """Return status, body (cut when it is too long) and challenge."""
        response = self._answer(url, headers)
        try:
            with translated(self.where):
                return response.status, response.read(_MOST_BYTES + 1), response.headers.get("WWW-Authenticate", "")
        finally:
            response.close()

    def _answer(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Return the answer, its body still to be read, from wherever the server sends us to."""
        for _ in range(_MOST_HOPS):
            response = self._get(url, headers)
            if response.status not in _ELSEWHERE:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location", ""))
            if not self._is_safe(target):
                raise JobFault(f'{self.where}: the registry sends us to "{target}", which is not safe')
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        return self._get(url, headers)

    def _get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        with translated(self.where):
            return self._pool.request("GET", url, headers=dict(headers), preload_content=False)

    def _is_safe(self, url: str) -> bool:
        return urlsplit(url).scheme in ("https", *(["http"] if self._plain else []))
