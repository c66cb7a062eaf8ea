"""What a server's clock says, by the Date of any answer of it."""

from __future__ import annotations

import http.client
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from agent.errors import StoreUnavailable

TIMEOUT = 10.0


def clock_difference(url: str, ca_file: str | None = None, ca: str | None = None) -> float:
    """Return the clock of the HTTP server at `url` minus this host's, in seconds (to about one).

    ca_file, else ca in PEM: the authorities that count; None = those of the system.
    Raises StoreUnavailable when it does not answer, or does not say what time it is.
    """
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, ca_file, ca)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        return parsedate_to_datetime(date or "").timestamp() - time.time()
    except (OSError, http.client.HTTPException) as error:
        raise StoreUnavailable(f"{url} does not answer: {error}") from None
    except (TypeError, ValueError):
        raise StoreUnavailable(f"{url} does not say what time it is") from None
    finally:
        connection.close()


def _connection(
    scheme: str, host: str, port: int | None, ca_file: str | None, ca: str | None
) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        context = ssl.create_default_context(cafile=ca_file, cadata=ca if ca_file is None else None)
    except OSError as error:
        raise StoreUnavailable(f"{ca_file or 's3.ca'}: {error.strerror}") from None
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
