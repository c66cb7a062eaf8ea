"""Artifact stores by the rights that somebody has on them: the agent's own, or those that a job brings along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from agent.model.cargo import Access
from agent.ports import ArtifactStore
from agent.transfer.router import Router

if TYPE_CHECKING:
    import urllib3

    from agent.adapters.s3.brought import BroughtClients
    from agent.adapters.s3.stores import S3Stores


class StoreAccess:
    """An ArtifactAccess. Rights that a job brings are never used outside `brought_prefixes`, nor the agent's there.

    own: the agent's stores by scheme; those for http, https, s3+http and s3+https are added here, below the
    `own_prefixes`. own_s3: returns the configured S3 server, whose artifacts may also be named by its address.
    ca_file, else ca in PEM: certificates of authorities that count besides those of the system.
    """

    def __init__(
        self,
        own: Mapping[str, ArtifactStore],
        own_prefixes: Sequence[str],
        brought_prefixes: Sequence[str],
        own_s3: Callable[[], S3Stores],
        ca_file: str | None = None,
        ca: str | None = None,
    ) -> None:
        self._own = dict(own)
        self._own_prefixes = tuple(own_prefixes)
        self._brought_prefixes = tuple(brought_prefixes)
        self._own_s3 = own_s3
        self._ca_file = ca_file
        self._ca = ca
        self._lock = threading.Lock()
        self._own_stores: Router | None = None
        self._outside: tuple[urllib3.PoolManager, BroughtClients] | None = None

    def by(self, access: Access | None) -> ArtifactStore:
        """See ports.ArtifactAccess. Raises JobFault for rights that no request can carry, and StoreUnavailable."""
        with self._lock:
            if access is not None:
                return self._brought(access)
            if self._own_stores is None:
                self._own_stores = Router({**self._own, **self._named_server(), **self._web()})
            return self._own_stores

    def _brought(self, access: Access) -> Router:
        from agent.adapters.http import HttpArtifacts
        from agent.adapters.s3.brought import BroughtArtifacts, BroughtClients

        if self._outside is None:
            pool = self._pool()
            self._outside = pool, BroughtClients(pool)
        pool, clients = self._outside
        objects = BroughtArtifacts(clients, self._brought_prefixes, access)
        files = HttpArtifacts(pool, self._brought_prefixes, access)
        return Router({"s3+http": objects, "s3+https": objects, "http": files, "https": files})

    def _named_server(self) -> dict[str, ArtifactStore]:
        prefixes = _starting(self._own_prefixes, "s3+http:", "s3+https:")
        if not prefixes:
            return {}
        objects = self._own_s3().named_artifacts(prefixes)
        return {"s3+http": objects, "s3+https": objects}

    def _web(self) -> dict[str, ArtifactStore]:
        prefixes = _starting(self._own_prefixes, "http:", "https:")
        if not prefixes:
            return {}
        from agent.adapters.http import HttpArtifacts

        files = HttpArtifacts(self._pool(), prefixes)
        return {"http": files, "https": files}

    def _pool(self) -> urllib3.PoolManager:
        from agent.adapters.http.pool import make_guarded_pool

        return make_guarded_pool(self._ca_file, ca=self._ca)


def _starting(prefixes: Sequence[str], *schemes: str) -> list[str]:
    return [prefix for prefix in prefixes if prefix.startswith(schemes)]
