"""S3 servers that jobs name, by the rights that they bring along: which errors are the job's, and who is asked how."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.providers import StaticProvider
from urllib3 import BaseHTTPResponse

from agent.adapters.http.transport import Refused
from agent.adapters.s3.artifacts import S3Artifacts, check_below
from agent.adapters.s3.client import Request, S3Client
from agent.adapters.s3.errors import S3Failure
from agent.errors import EdgeAgentError, InvalidInput, JobFault
from agent.model.cargo import Access
from agent.ports import ArtifactStore
from agent.transfer.router import StoreChoice

# MinIO and others take it for every bucket; AWS signs requests for its oldest region so, and names the right one in
# the refusal where a bucket lies elsewhere.
DEFAULT_REGION = "us-east-1"
MOST_CLIENTS = 32

# s3-REGION is what AWS called its servers until 2018; they answer to s3.REGION as well.
_AWS = re.compile(r"s3[.-](?:(dualstack)\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.(amazonaws\.com(?:\.cn)?)(?::443|:80)?")
_REGION = re.compile(r"[A-Za-z0-9-]{1,32}")

_RIGHTS = "the rights that the job brings do not reach it"
_KEYS = "correct the keys that the job brings"
_SESSION = "submit the job with keys that are valid while it runs"
_REGION_FAULT = "name the bucket's region in the credentials that the job brings"
_UNFIT = "the server does not take such a request; check the address that the job names"

# Refusals that stay, by the server's word for them -> what the submitter can do. With the rights of nobody, a reader
# may still get what is public after one of REFUSED.
REFUSED = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AccountProblem": _RIGHTS,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "ExpiredToken": _SESSION,
    "InvalidToken": _SESSION,
    "InvalidTokenId": _SESSION,
    "TokenRefreshRequired": _SESSION,
    # The answer to HEAD has no words: AWS says so little of expired sessions and of regions.
    "BadRequest": "check keys, session token and region that the job brings",
}
LASTING = {
    **REFUSED,
    "NoSuchBucket": "make the bucket, or correct its name in the job",
    "InvalidBucketName": "correct the bucket's name in the job",
    "AuthorizationHeaderMalformed": _REGION_FAULT,
    "IllegalLocationConstraintException": _REGION_FAULT,
    "PermanentRedirect": _REGION_FAULT,
    "Redirect": _REGION_FAULT,
}
# Refusals that pass although their status says otherwise: this host's clock, a quota, a slow line.
PASSING = frozenset(
    {"RequestTimeTooSkewed", "RequestTimeout", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
)
# What all other words mean. 404, 409, 412 and 416 are answers that the caller knows to read.
LASTING_STATUSES = {
    **dict.fromkeys((401, 403), _RIGHTS),
    **dict.fromkeys((400, 405, 411, 413, 414, 501), _UNFIT),
    **dict.fromkeys((301, 302, 303, 307, 308), "it points to another address; name that one in the job"),
}


def judged(error: S3Failure) -> EdgeAgentError:
    """Return Refused for what stays so with the rights that a job brings, else the same error."""
    if error.code in PASSING or not (error.lasting or error.code in LASTING or error.status in LASTING_STATUSES):
        return error
    remedy = LASTING.get(error.code or "") or LASTING_STATUSES.get(error.status or 0)
    return Refused(f"{error.said}; {remedy}" if remedy else error.said, error.status)


class Named(NamedTuple):
    """The address of a server as requests use it, and the region in its name, if there is one."""

    endpoint: str
    region: str | None


def named(server: str) -> Named:
    """Return what a server is called in the form that the library knows."""
    parts = urlsplit(server)
    match = _AWS.fullmatch(parts.netloc)
    if match is None:
        return Named(server, None)
    dualstack = "dualstack." if match[1] else ""
    return Named(f"{parts.scheme}://s3.{dualstack}{match[2]}.{match[3]}", match[2])


class _Signer(NamedTuple):
    """Signs for one region."""

    region: str
    minio: Minio


class BroughtClient(S3Client):
    """Requests by the rights that a job brings. Methods raise JobFault for what stays, S3Failure for all else."""

    def __init__(self, server: str, access: Access, pool: urllib3.PoolManager) -> None:
        """Raises JobFault for rights that no request can carry, or a server that cannot be one."""
        self._named = named(server)
        self._keys = _keys(access)
        self._pool = pool
        region = self._named.region or _region(access) or DEFAULT_REGION
        self._signer = _Signer(region, self._made(region, self._keys))
        super().__init__(self._signer.minio, self._named.endpoint)

    def _answered(self, request: Request) -> BaseHTTPResponse:
        try:
            return self._in_its_region(request)
        except S3Failure as error:
            refused = error
        if request.method in ("GET", "HEAD") and self._keys is not None and _is_refused(refused):
            response = self._public(request)
            if response is not None:
                return response
        raise judged(refused) from refused

    def _in_its_region(self, request: Request) -> BaseHTTPResponse:
        """Send the request, once more where the server names another region: only it knows where a bucket lies."""
        signer = self._signer
        try:
            return self._explained(signer.minio, request)
        except S3Failure as error:
            region = error.region
            if region is None or region == signer.region:
                raise
        self._signer = signer = _Signer(region, self._made(region, self._keys))
        return self._explained(signer.minio, request)

    def _explained(self, minio: Minio, request: Request) -> BaseHTTPResponse:
        """Send the request; where a HEAD is refused, ask why: a wrong clock, region or key all look the same there."""
        try:
            return self._sent(minio, request)
        except S3Failure as error:
            if request.method != "HEAD" or error.status not in (400, 403):
                raise
            if request.key is None:
                why = Request("GET", request.bucket, query={"location": ""})
            else:
                why = Request("GET", request.bucket, request.key, headers={"Range": "bytes=0-0"}, stream=True)
            self._sent(minio, why).close()
            raise

    def _public(self, request: Request) -> BaseHTTPResponse | None:
        """Return the answer to who has no rights, None when there is none for such. Raises S3Failure."""
        try:
            return self._sent(self._made(self._signer.region, None), request)
        except S3Failure as error:
            if isinstance(judged(error), JobFault):
                return None
            raise

    def _made(self, region: str, keys: StaticProvider | None) -> Minio:
        parts = urlsplit(self._named.endpoint)
        secure = parts.scheme == "https"
        try:
            return Minio(parts.netloc, secure=secure, region=region, credentials=keys, http_client=self._pool)
        except ValueError as error:
            raise JobFault(f"{self._named.endpoint}: {error}; correct the address that the job names") from None


def _is_refused(error: S3Failure) -> bool:
    return error.code in REFUSED or error.status in (401, 403)


def _keys(access: Access) -> StaticProvider | None:
    """Return the keys, None = anonymous. Raises JobFault for those that no request can carry."""
    access_key, secret_key, token = access.access_key or "", access.secret_key or "", access.session_token or None
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        given, missing = ("access", "secret") if access_key else ("secret", "access")
        raise JobFault(f"the job brings an S3 {given} key without its {missing} key; give both, or none for anonymous")
    for name, value in (("access key", access_key), ("session token", token or "")):
        if not value.isascii() or not value.isprintable() or " " in value:
            raise JobFault(f"the S3 {name} that the job brings has characters that none has; correct it")
    return StaticProvider(access_key, secret_key, token)


def _region(access: Access) -> str | None:
    if access.region and not _REGION.fullmatch(access.region):
        raise JobFault('the S3 region that the job brings is no name; write one such as "eu-central-1"')
    return access.region or None


class BroughtClients:
    """The clients of all servers and rights; of those not used for long, none is kept. Thread-safe."""

    def __init__(self, pool: urllib3.PoolManager, most: int = MOST_CLIENTS) -> None:
        self._pool = pool
        self._most = most
        self._lock = threading.Lock()
        self._clients: OrderedDict[tuple[str, Access], BroughtClient] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._clients)

    def of(self, server: str, access: Access) -> BroughtClient:
        """Return the client of a server ("https://host:port") for these rights. Raises JobFault."""
        key = (server, access)
        with self._lock:
            client = self._clients.get(key) or BroughtClient(server, access, self._pool)
            self._clients[key] = client
            self._clients.move_to_end(key)
            while len(self._clients) > self._most:
                self._clients.popitem(last=False)
            return client


class BroughtArtifacts(StoreChoice):
    """An ArtifactStore for s3+http:// and s3+https:// URIs below `prefixes`, whichever servers they name.

    Every method raises InvalidInput for any other URI, and JobFault for what no later try will change.
    """

    def __init__(self, clients: BroughtClients, prefixes: Sequence[str], access: Access) -> None:
        self._clients = clients
        self._prefixes = tuple(prefixes)
        self._access = access
        self._lock = threading.Lock()
        self._stores: dict[str, S3Artifacts] = {}

    def chosen(self, uri: str) -> ArtifactStore:
        """Return the server of the URI, as the job may use it."""
        # Whether it is allowed comes first: no address and no right is looked at before.
        server = check_below(uri, self._prefixes).server
        if not server:
            raise InvalidInput(f'"{uri}" names no server', hint='such as "s3+https://minio.lab/bucket/train.csv"')
        with self._lock:
            if server not in self._stores:
                client = self._clients.of(server, self._access)
                self._stores[server] = S3Artifacts(client, self._prefixes, server=server)
            return self._stores[server]
