"""Recorded messages, right and malformed, through the worker: no crash, no loop, one line for what is dropped.

Artifacts are those that were recorded with the messages; environments are the host's own Python.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import msgspec
import pytest
from agent.errors import ArtifactMissing, JobFault
from agent.matching import MatchPolicy
from agent.model.cargo import VENV_IMAGE, Access
from agent.model.records import Outcome
from agent.ports import ArtifactInfo, ArtifactStore, Delivery, ImageFacts
from agent.studioml.envelope import seal
from agent.studioml.observer import StudioObservers
from agent.studioml.reading import Reading, Rules
from agent.wire import decode

from tests.fakes import FakeImages
from tests.studioml_keys import VECTORS, RecordedKeys
from tests.worlds import QUEUE, World, world

MALFORMED = VECTORS / "malformed"
EXPECTATIONS: dict[str, dict[str, str]] = json.loads((MALFORMED / "expectations.json").read_bytes())
SUBMITTED = 1795347112.0  # when most of the messages were
SERVER = "s3+http://127.0.0.1:5185/"
FOUND_LATER = {"fail experiment, ack", "fail: no such file"}
# What the protocol lets end in two ways: this is the one that this agent takes.
CHOSEN = {"key_traversal.json": "accept", "nan.json": "accept", "env_header_lies.json": "wait"}
# An unknown scheme can be seen in the message itself, so nothing is started for it.
CHOSEN["unknown_scheme.json"] = "drop"


class RecordedServer:
    """The S3 server of the recorded messages: its objects, and what was written since. It knows one pair of keys."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}

    def by(self, access: Access | None) -> ArtifactStore:
        return _Server(self, access)

    def json(self, key: str) -> Any:
        return json.loads(self.written[key])


class _Server:
    def __init__(self, server: RecordedServer, access: Access | None) -> None:
        self._server = server
        self._access = access

    def stat(self, uri: str) -> ArtifactInfo | None:
        try:
            return ArtifactInfo(len(self._body(uri)))
        except ArtifactMissing:
            return None

    def open(self, uri: str) -> BinaryIO:
        return io.BytesIO(self._body(uri))

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        self._server.written[self._key(uri)] = b"".join(chunks)

    def copy(self, source: str, target: str) -> None:
        self.write(target, [self._body(source)])

    def _body(self, uri: str) -> bytes:
        key = self._key(uri)
        if key in self._server.written:
            return self._server.written[key]
        file = VECTORS / "s3" / key
        if ".." in key or not file.is_file():
            raise ArtifactMissing(f"{uri}: there is no such object")
        return file.read_bytes()

    def _key(self, uri: str) -> str:
        if uri.startswith("mem://"):
            return uri
        if self._access is None or self._access.access_key != "AKIAEDGE" or not uri.startswith(SERVER):
            raise JobFault(f"{uri}: access denied")
        return unquote(uri.removeprefix(SERVER))


class StudioWorld:
    """A world whose messages are StudioML's."""

    def __init__(self, made: World, folder: Path, keys: RecordedKeys) -> None:
        self.made = made
        self.server = RecordedServer()
        environment = folder / "python"
        (environment / "bin").mkdir(parents=True)
        (environment / "bin/python").symlink_to(sys.executable)
        self._reading = Reading(queue="jobs", keys=keys, rules=Rules(environment={"PATH": f"{environment}/bin:/bin"}))
        made.change(
            access=_Both(self.server, made),
            images=FakeImages({VENV_IMAGE: (ImageFacts("amd64", 0), environment)}),
            observers=StudioObservers(self.server, made.allowed, made.clock, "board-1", keys, lambda queue: None, seal),
            decode=self._decode,
            queues={QUEUE: replace(made.queue, keeps_dead=False)},
        )

    def _decode(self, delivery: Delivery, attempt: int) -> Any:
        reading = msgspec.structs.replace(self._reading, now=self.made.clock.time(), attempt=attempt)
        return decode(delivery.body, delivery.attributes, delivery.submitted_at, reading)

    def run(self, body: bytes) -> str:
        """Put the message on the queue, with the record that its client writes, and let a worker carry it."""
        try:
            experiment = json.loads(body)["experiment"]
            self.server.written[f"studioml-meta/experiments/{experiment['key']}"] = json.dumps(experiment).encode()
        except (ValueError, LookupError, TypeError):
            pass  # no client wrote that
        sid = self.made.submit_raw(body)
        assert self.made.run_one() == sid
        return sid


class _Both:
    """The recorded server for what messages bring, memory for what is the agent's own."""

    def __init__(self, server: RecordedServer, made: World) -> None:
        self._server = server
        self._own = made.context.access

    def by(self, access: Access | None) -> ArtifactStore:
        return self._own.by(None) if access is None else self._server.by(access)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudioWorld]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    monkeypatch.setattr("agent.observing.TICK", 0.02)
    allowed = MatchPolicy(image_prefixes=(VENV_IMAGE,), brought_prefixes=(SERVER,))
    made = world(tmp_path, allowed=allowed)
    made.clock.set(SUBMITTED)
    yield StudioWorld(made, tmp_path, RecordedKeys())
    made.runtime.close()


def dropped(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == "job-dropped"]


def wanted(name: str) -> str:
    want = CHOSEN.get(name, EXPECTATIONS[name]["want"])
    return want if want in FOUND_LATER else want.split()[0].replace("last", "accept")


@pytest.mark.parametrize("name", sorted(EXPECTATIONS))
def test_a_malformed_message_ends_as_it_should(
    studio: StudioWorld, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = studio.made
    sid = studio.run((MALFORMED / name).read_bytes())
    assert made.leftovers() == []
    assert not [record for record in caplog.records if getattr(record, "event", "") == "internal-error"]
    want = wanted(name)
    assert made.waiting() == ([sid] if want == "wait" else [])
    if want == "wait":  # its clear text asks for a GPU, and its header for much more
        assert set(made.refused(sid)) == {"accelerator", "gpus"}
        return
    if want == "drop" and name != "expired_lifetime.json":
        assert len(dropped(caplog)) == 1
        assert made.attempts(sid) == []
        return
    assert dropped(caplog) == []
    commit = made.commit(sid)
    if name == "expired_lifetime.json":
        assert (commit.outcome, made.attempts(sid)) == (Outcome.EXPIRED, [])
    elif want in FOUND_LATER:
        assert commit.outcome is Outcome.FAILED
    else:
        assert len(made.attempts(sid)) == 1


def test_a_recorded_message_runs_and_leaves_what_its_client_looks_for(studio: StudioWorld) -> None:
    message = json.loads((VECTORS / "01_plain.json").read_bytes())
    key = message["experiment"]["key"]
    sid = studio.run(json.dumps(message).encode())
    assert studio.made.commit(sid).outcome is Outcome.SUCCEEDED, studio.made.commit(sid)
    written = {name for name in studio.server.written if name.startswith("studioml-artifacts/")}
    assert f"studioml-artifacts/experiments/{key}/output.tar" in written
    assert any(name.startswith("studioml-artifacts/metadata/output-host-board-1-") for name in written)
    record = studio.server.json(f"studioml-meta/experiments/{key}")
    assert (record["status"], record["owner"]) == ("finished", "guest")


def test_a_message_that_was_dropped_is_finished_in_its_clients_database(studio: StudioWorld) -> None:
    message = json.loads((VECTORS / "01_plain.json").read_bytes())
    message["experiment"]["max_duration"] = "soon"
    studio.run(json.dumps(message).encode())
    record = studio.server.json(f"studioml-meta/experiments/{message['experiment']['key']}")
    assert record["status"] == "finished"


def test_a_second_attempt_has_its_own_number_in_its_directory(studio: StudioWorld) -> None:
    message = json.loads((VECTORS / "01_plain.json").read_bytes())
    workspace = message["experiment"]["artifacts"]["workspace"]
    script = b'import os; print(os.environ["STUDIOML_EXPERIMENT"], os.getcwd().split("/")[-2])'
    studio.server.written[f"{workspace['bucket']}/{workspace['key']}"] = packed("train.py", script)
    sid = studio.made.submit_raw(json.dumps(message).encode())
    studio.made.overtake(sid, 1, outcome=Outcome.LOST)
    assert studio.made.run_one() == sid
    assert [record.n for record in studio.made.attempts(sid)] == [1, 2]
    name, directory = studio.made.artifact(sid, "log").decode().split()
    assert name == directory
    assert name.endswith(".2")


def packed(name: str, content: bytes) -> bytes:
    """Return a tar archive with one file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()
