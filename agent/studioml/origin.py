"""What the observers of a StudioML attempt need of its message: the shape of `Cargo.origin`.

Rights are not in it: `Cargo.access` has them, by the URI of an object or by a prefix that ends in "/".
"""

from __future__ import annotations

import msgspec

from agent.model.cargo import Cargo

FORM = "studioml"


class Database(msgspec.Struct, frozen=True):
    """Where clients keep the records of their experiments. uri: of the bucket, ending in "/"; None = out of reach."""

    type: str | None = None
    uri: str | None = None


class Tagged(msgspec.Struct, frozen=True):
    """One artifact. uri: as the agent writes it; qualified: as the client wrote it; path: below the job's directory."""

    uri: str | None = None
    qualified: str | None = None
    mutable: bool = False
    path: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """One message.

    experiment: the key of the experiment. queue: its name as clients say it. status_uri, results_uri: of the archives
    of the artifacts `_status` and `_results`; metadata_uri: the prefix below which scraped metadata goes, ending in
    "/". sealed: it came in an envelope. checkpoint_every: seconds between two uploads while it runs.
    """

    experiment: str
    project: str | None = None
    queue: str = ""
    database: Database = Database()
    artifacts: dict[str, Tagged] = {}
    status_uri: str | None = None
    results_uri: str | None = None
    metadata_uri: str | None = None
    sealed: bool = False
    checkpoint_every: float | None = None


def origin_of(cargo: Cargo) -> Origin | None:
    """Return the origin of a StudioML job; None for one that came in another form."""
    if cargo.form != FORM:
        return None
    known = {key: value for key, value in cargo.origin.items() if value is not None}
    return msgspec.convert(known, Origin)
