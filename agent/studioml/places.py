"""Where artifacts are: the URLs of clients as the URIs that this agent uses.

    s3://HOST/BUCKET/KEY    as clients write it, by path or by virtual host     s3+http://HOST/BUCKET/KEY, s3+https://
    s3://BUCKET/KEY         on the server of `config.storage`, else Amazon's    the same
    gs://BUCKET/KEY                                                             gs://BUCKET/KEY
    file://tmp/a, file:///tmp/a     the first part may have slipped into the host   file:///tmp/a
    http://.., https://..                                                       as they are

Clients write keys as they are, unquoted; URIs here have them quoted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from agent.errors import Dropped
from agent.matching.uris import is_below
from agent.studioml.fields import Fields, shown

AMAZON = "s3.amazonaws.com"
_AMAZON = re.compile(r"(?:.+\.)?amazonaws\.com(?:\.cn)?")
_AMAZON_REGION = re.compile(r"s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d+)\.amazonaws\.com(?:\.cn)?")
_AMAZON_VIRTUAL = re.compile(r"(.+)\.(s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?)")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_ARCHIVE = re.compile(r"\.(?:tar|tar\.[^./]+|tgz|tbz|tbz2)$", re.IGNORECASE)
_LONGEST_HOST = 260  # bytes, with a port
_LONGEST_NAME = 200  # bytes of a file name; the agent needs room for endings of its own

Kind = Literal["s3", "gs", "file", "http"]


class Place(NamedTuple):
    """One artifact. name: of its file; root: URI of its bucket, ending in "/", None where there is none.

    server: the host of its S3 server; named: the URL says which one that is. user, password: as an HTTP URL has them.
    """

    kind: Kind
    uri: str
    name: str
    root: str | None = None
    server: str = ""
    named: bool = True
    user: str | None = None
    password: str | None = None


class Servers(NamedTuple):
    """The S3 servers of `config`: how to speak to them, and which one keeps buckets whose server is not named."""

    schemes: Mapping[str, str] = {}
    default: str | None = None

    def scheme(self, host: str) -> str:
        """Return http or https."""
        return "https" if _AMAZON.fullmatch(host.partition(":")[0]) else self.schemes.get(host, "http")


def servers_of(config: Fields) -> Servers:
    """Return the S3 servers that `config.storage` and `config.database` name."""
    storage, database = config.table_if_any("storage"), config.table_if_any("database")
    schemes: dict[str, str] = {}
    for each in (database, storage):
        scheme, host = _endpoint(each["endpoint"])
        if host and scheme:
            schemes[host] = scheme
    default = _endpoint(storage["endpoint"])[1] if str(storage["type"]).lower() == "s3" else None
    return Servers(schemes, default)


def endpoint_host(value: object) -> str | None:
    """Return the host (and port) of an endpoint, which may lack its scheme; None when it is none."""
    return _endpoint(value)[1]


def _endpoint(value: object) -> tuple[str | None, str | None]:
    if not isinstance(value, str):
        return None, None
    scheme, separator, rest = value.strip().lower().rpartition("://")
    host = rest.partition("/")[0]
    if not _HOST.fullmatch(host) or (separator and scheme not in ("http", "https")):
        return None, None
    return scheme or None, host


def region_of(server: str) -> str | None:
    """Return the region that a host of Amazon's is in, None where its name does not say."""
    match = _AMAZON_REGION.fullmatch(server.partition(":")[0])
    return match[1] if match else None


def is_archive(name: str) -> bool:
    """Say whether a file of this name is an archive of a client."""
    return _ARCHIVE.search(name) is not None


def place_of(url: str, bucket: str | None, key: str | None, servers: Servers) -> Place | None:
    """Return where the artifact is; None for a scheme that nobody knows. bucket, key: as the message has them.

    Raises Dropped for a URL that says no place.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise Dropped("not a URL", hint='such as "s3://HOST/BUCKET/KEY"')
    scheme = scheme.lower()
    if scheme == "s3":
        return _checked(_on_s3(rest, bucket, servers), url)
    if scheme == "gs":
        return _checked(_on_gs(rest), url)
    if scheme == "file":
        return _checked(_in_file(rest, key), url)
    return _checked(_by_http(scheme, rest), url) if scheme in ("http", "https") else None


def _on_s3(rest: str, bucket: str | None, servers: Servers) -> Place:
    host, held_in, key = _split_s3(rest, bucket)
    named = host is not None
    server = (host or servers.default or AMAZON).lower()
    return s3_place(servers.scheme(server), server, held_in, key, named or servers.default is not None)


def s3_place(scheme: str, server: str, bucket: str, key: str, named: bool = True) -> Place:
    """Return the place of an object on an S3 server. Raises Dropped."""
    if not _HOST.fullmatch(server):
        raise Dropped(f"{shown(server)} is not the host of an S3 server", hint='such as "minio.example.com:9000"')
    root = f"s3+{scheme}://{server}/{_bucket(bucket)}/"
    return Place("s3", root + quote(key), key.rpartition("/")[2], root, server, named)


def _split_s3(rest: str, bucket: str | None) -> tuple[str | None, str, str]:
    """Return (host or None, bucket, key)."""
    first, _, path = rest.partition("/")
    second, _, below = path.partition("/")
    if len(first) > _LONGEST_HOST:
        raise Dropped(f"{shown(first)} is not a host", hint="at most 253 bytes")
    if bucket and first == bucket:
        return None, first, path
    if bucket and second == bucket:
        return first, second, below
    host, held_in = _virtual(first, bucket)
    if host:
        return host, held_in, path
    return (first, second, below) if _is_host(first) else (None, first, path)


def _virtual(first: str, bucket: str | None) -> tuple[str, str]:
    """Return (host, bucket) of a host whose name begins with that of the bucket; ("", "") for another."""
    if bucket and first.startswith(f"{bucket}.") and _HOST.fullmatch(first[len(bucket) + 1 :].lower()):
        return first[len(bucket) + 1 :], bucket
    match = _AMAZON_VIRTUAL.fullmatch(first.lower())
    return (match[2], first[: len(match[1])]) if match else ("", "")


def _is_host(first: str) -> bool:
    if first.lower().endswith(".com") or ":" in first:
        return True
    try:
        ipaddress.ip_address(first.strip("[]"))
    except ValueError:
        return False
    return True


def _on_gs(rest: str) -> Place:
    bucket, _, key = rest.partition("/")
    root = f"gs://{_bucket(bucket)}/"
    return Place("gs", root + quote(key), key.rpartition("/")[2], root)


def _bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise Dropped(f"{shown(name)} is not the name of a bucket", hint="letters, digits, '.', '_' and '-'")
    return name


def _in_file(rest: str, key: str | None) -> Place:
    host, _, path = rest.partition("/")
    whole = f"/{path}" if host in ("", "localhost") else f"/{rest}"
    root = f"file://{quote(whole.removesuffix(key))}" if key and whole.endswith(f"/{key}") else None
    return Place("file", f"file://{quote(whole)}", whole.rpartition("/")[2], root)


def _by_http(scheme: str, rest: str) -> Place:
    user = password = None
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if at:
        user, _, password = (unquote(part) for part in userinfo.partition(":"))
    # A URL is quoted already; what nobody may write in one is quoted now.
    uri = quote(f"{scheme}://{host.lower()}{slash}{path.partition('#')[0]}", safe="/:?[]@!$&'()*+,;=%~")
    if not _HOST.fullmatch(host.lower()):
        raise Dropped(f"{shown(host)} is not a host", hint='such as "example.com" or "10.0.0.5:8080"')
    name = unquote(path.partition("#")[0].partition("?")[0]).rpartition("/")[2]
    return Place("http", uri, name, user=user, password=password)


def _checked(place: Place, url: str) -> Place:
    """Refuse what no prefix of an operator could ever allow, or no file could be named after."""
    uri = place.uri.partition("?")[0]
    prefix = "file:///" if place.kind == "file" else f"{uri.partition('://')[0]}://"
    length = len(place.name.encode())
    if not place.name or length > _LONGEST_NAME or not place.name.isprintable() or place.name in (".", ".."):
        raise Dropped(f"{shown_url(url)} names no file", hint="a name of 1 to 200 bytes at its end")
    if not is_below(uri, (prefix,)):
        raise Dropped(f"{shown_url(url)} does not say one place", hint="no '..', no backslash, no line breaks")
    return place


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the URL"
    return shown(f"{parts.scheme}://{host}{parts.path}")
