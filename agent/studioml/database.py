"""Where the record of an experiment is kept. What `config.database` has of other kinds of databases is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agent.errors import Dropped
from agent.model.cargo import Access
from agent.studioml.credentials import Rights
from agent.studioml.fields import Fields
from agent.studioml.origin import Database
from agent.studioml.places import AMAZON, Servers, endpoint_host, s3_place


class Reachable(NamedTuple):
    """A database, and the rights on what lies below its URI."""

    database: Database
    access: Mapping[str, Access]


def database_of(config: Fields, servers: Servers, rights: Rights) -> Reachable:
    """Return the database of a client; one that cannot be made out is out of reach, and no error."""
    fields = config.table_if_any("database")
    kind = fields["type"].lower() if isinstance(fields["type"], str) else None
    if kind != "s3":
        return Reachable(Database(kind), {})
    server = AMAZON if not fields["endpoint"] else endpoint_host(fields["endpoint"])
    try:
        root = s3_place(servers.scheme(server or ""), server or "", fields.text("bucket") or "", "").root
        access = rights.on_server(server or "", fields.table("credentials", secret=True))
    except Dropped:
        return Reachable(Database(kind), {})
    return Reachable(Database(kind, root), {} if access is None or root is None else {root: access})
