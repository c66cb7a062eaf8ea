"""Requests to web servers by the rights of one job, or by nobody's; repeated and redirected where that is safe."""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

import urllib3

from agent.adapters.http import urls
from agent.adapters.http.answers import refusal
from agent.adapters.http.transport import Failure, judged
from agent.errors import JobFault
from agent.model.cargo import Access
from agent.redact import mask_url

MOST_REDIRECTIONS = 5
# Seconds before the second and third try of a request: long enough for a connection that was closed meanwhile.
PAUSES = (0.1, 0.5)
_REDIRECTIONS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
_SUCCESSES = {"GET": (200,), "HEAD": (200,), "PUT": (200, 201, 204)}


class HttpClient:
    """Requests to addresses below `prefixes`.

    access: the rights that a job brings; None = the agent's own, who has none on web servers. All methods raise
    Failure, JobFault for what stays wrong, and ArtifactMissing.
    """

    def __init__(
        self,
        pool: urllib3.PoolManager,
        prefixes: Sequence[str],
        access: Access | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """wait: waits that many seconds before a request is repeated."""
        self._pool = pool
        self._prefixes = tuple(prefixes)
        self._rights = _authorization(access)
        self._brought = access is not None
        self._wait = wait or (lambda seconds: threading.Event().wait(seconds))

    def checked(self, url: str) -> str:
        """Return the URL when it may be used. Raises InvalidInput."""
        return urls.checked(url, self._prefixes)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: BinaryIO | None = None,
        also: Sequence[int] = (),
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer to a request that may be repeated, its body still to be read.

        body: a whole file; also: statuses that are answers as well, and no errors.
        """
        for pause in PAUSES:
            try:
                return self._once(method, url, headers or {}, body, also)
            except Failure as error:
                if not error.transient:
                    raise
            self.wait(pause)
        return self._once(method, url, headers or {}, body, also)

    def wait(self, seconds: float) -> None:
        """Wait `seconds`, and up to as long again so that many hosts do not come back at once."""
        self._wait(seconds * (1 + random.random()))

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: BinaryIO | None, also: Sequence[int]
    ) -> urllib3.BaseHTTPResponse:
        response = self._followed(method, url, headers, body)
        wanted = (*_SUCCESSES[method], *([206] if "Range" in headers else []), *also)
        if response.status in wanted:
            return response
        raise refusal(mask_url(url), response.status, brought=self._brought)

    def _followed(
        self, method: str, url: str, headers: Mapping[str, str], body: BinaryIO | None
    ) -> urllib3.BaseHTTPResponse:
        target = url
        for _ in range(1 + MOST_REDIRECTIONS):
            response = self._sent(method, url, target, headers, body)
            if response.status not in _REDIRECTIONS:
                return response
            if body is not None and response.status not in _SAME_METHOD:
                raise JobFault(f"{mask_url(url)}: the server points an upload elsewhere; name the address itself")
            target = urls.redirected(target, response.headers.get("Location", ""), self._prefixes)
        raise JobFault(f"{mask_url(url)}: more than {MOST_REDIRECTIONS} redirections; name the file's own address")

    def _sent(
        self, method: str, url: str, target: str, headers: Mapping[str, str], body: BinaryIO | None
    ) -> urllib3.BaseHTTPResponse:
        own = {"Accept-Encoding": "identity", "User-Agent": "edge-agent", **headers}
        # Rights are for the server that the job named with them, not for whom it points to.
        if urls.origin(target) == urls.origin(url):
            own.update(self._rights)
        if body is not None:
            body.seek(0)
        with judged(mask_url(url)):
            return self._pool.urlopen(method, target, False, headers=own, body=body, preload_content=False)


def _authorization(access: Access | None) -> dict[str, str]:
    """Return the headers that carry the rights. Raises JobFault for a token that no header can carry."""
    if access is None:
        return {}
    if access.token:
        if not (access.token.isascii() and access.token.isprintable() and " " not in access.token):
            raise JobFault("the bearer token that the job brings has characters that no token has; correct it")
        return {"Authorization": f"Bearer {access.token}"}
    if access.user or access.password:
        pair = f"{access.user or ''}:{access.password or ''}".encode("utf-8", "replace")
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}
