"""What the observers of an attempt need, in memory: places for artifacts, an attempt, its client's database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from agent.matching import MatchPolicy
from agent.model.cargo import Access, Cargo
from agent.model.records import Outcome
from agent.ports import Watched
from agent.studioml.objects import Objects
from agent.studioml.origin import FORM, Database, Origin, Tagged

from tests.fakes import START_OF_TIME, FakeAccess, FakeArtifacts

KEY = "1795347111_38922844-1f50"
RIGHTS = Access(access_key="client", secret_key="secret")
RECORD = f"mem://db/experiments/{KEY}"
STATUS = "mem://brought/_status.tar"
RESULTS = "mem://brought/_results.tar"
METADATA = "mem://brought/metadata/"
ARTIFACTS = {
    "workspace": Tagged(uri="mem://brought/workspace.tar", qualified="s3://h:9/b/workspace.tar", path="x/workspace"),
    "modeldir": Tagged(
        uri="mem://brought/modeldir.tar", qualified="s3://h:9/b/modeldir.tar", mutable=True, path="x/modeldir"
    ),
    "output": Tagged(uri="mem://brought/output.tar", qualified="s3://h:9/b/output.tar", mutable=True, path="x/output"),
    "retval": Tagged(uri="mem://brought/retval.tar", mutable=True, path="x/retval"),
    "_metadata": Tagged(uri="mem://brought/_metadata.tar", mutable=True, path="x/_metadata"),
    "_results": Tagged(uri=RESULTS, mutable=True),
}
POLICY = MatchPolicy(
    input_prefixes=("mem://own/",), output_prefixes=("mem://own/",), brought_prefixes=("mem://brought/", "mem://db/")
)


def origin(**changes: Any) -> Origin:
    """An experiment whose client asks for everything that there is."""
    asked = {
        "database": Database("s3", "mem://db/"),
        "artifacts": ARTIFACTS,
        "status_uri": STATUS,
        "results_uri": RESULTS,
        "metadata_uri": METADATA,
    }
    return Origin(**{"experiment": KEY, "project": "edge", "queue": "jobs", **asked, **changes})


def cargo(of: Origin | None = None) -> Cargo:
    """What a message brings along that has this origin."""
    access = {"mem://brought/": RIGHTS, "mem://db/": RIGHTS, STATUS: RIGHTS, RESULTS: RIGHTS}
    return Cargo(access=access, log="x/output/output", form=FORM, origin=msgspec.to_builtins(of or origin()))


class Studio:
    """A store, and an attempt with its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.artifacts = FakeArtifacts()
        self.access = FakeAccess(self.artifacts)
        self.access.private.update({"mem://brought/": RIGHTS, "mem://db/": RIGHTS})

    def objects(self, policy: MatchPolicy = POLICY) -> Objects:
        return Objects(self.access, policy, cargo(), self.directory)

    def put(self, uri: str, content: Any) -> None:
        """Store bytes as they are, and anything else as JSON."""
        self.artifacts.write(uri, [content if isinstance(content, bytes) else json.dumps(content).encode()])

    def get(self, uri: str) -> bytes:
        with self.artifacts.open(uri) as stream:
            return stream.read()

    def get_json(self, uri: str) -> Any:
        return json.loads(self.get(uri))

    def attempt(self, of: Origin | None = None, **changes: Any) -> Watched:
        running = Watched("s.1", "s", 1, "lab", "edge-node-1", cargo(of), self.directory, started_at=START_OF_TIME)
        return msgspec.structs.replace(running, **changes)

    def ended(self, outcome: Outcome = Outcome.SUCCEEDED, of: Origin | None = None, **changes: Any) -> Watched:
        code = 0 if outcome is Outcome.SUCCEEDED else 1
        end = {"outcome": outcome, "ended_at": START_OF_TIME + 60.5, "exit_code": code}
        return self.attempt(of, **{**end, **changes})
