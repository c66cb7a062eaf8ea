"""One client for all who use the same server with the same rights, made when it is first needed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.adapters.gcs.client import GcsClient


def connector(endpoint: str | None = None, credentials_file: str | None = None) -> Callable[[], GcsClient]:
    """Return a function that connects at its first call, and gives the same client ever after.

    endpoint: see client.connect. It raises StoreUnavailable where there are no credentials, and tries again when it is
    called again.
    """
    lock = threading.Lock()
    made: list[GcsClient] = []

    def client() -> GcsClient:
        with lock:
            if not made:
                without_farewells()
                from agent.adapters.gcs.client import connect

                made.append(connect(endpoint, credentials_file))
            return made[0]

    return client


def without_farewells() -> None:
    """Keep quiet what Google's libraries announce at each import on Python 3.10.

    Their newer releases will want another one; distributions go on maintaining it, and the lock file names those
    releases that work here.
    """
    warnings.filterwarnings("ignore", message="You are using a non-supported Python version", category=FutureWarning)
