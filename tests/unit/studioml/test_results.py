from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from agent.model.records import Outcome
from agent.studioml import results

from tests.fakes import START_OF_TIME
from tests.unit.studioml.studio_world import KEY, Studio, origin


def document(studio: Studio, outcome: Outcome = Outcome.SUCCEEDED, **changes: Any) -> dict[str, Any]:
    return results.document(studio.ended(outcome, **changes), origin())


def test_an_experiment_that_ended_well(studio: Studio) -> None:
    expected = {"exit_msg": "ok", "experiment_id": KEY, "host": "edge-node-1", "artifacts": {}}
    assert document(studio) == expected


def test_an_experiment_that_did_not_says_why(studio: Studio) -> None:
    assert document(studio, Outcome.TIMED_OUT, reason="ran for 60 s")["exit_msg"] == "ran for 60 s"
    assert document(studio, Outcome.CANCELLED)["exit_msg"] == "cancelled"


def test_what_it_left_behind_is_listed(studio: Studio) -> None:
    home = studio.directory / "work/x"
    for tag in ("workspace", "modeldir", "output", "_metadata", "retval"):
        (home / tag).mkdir(parents=True)
    for path in ("workspace/train.py", "modeldir/deep/weights", "_metadata/file"):
        (home / path).parent.mkdir(exist_ok=True)
        (home / path).touch()
    assert document(studio)["artifacts"] == {"modeldir": {"name": "modeldir"}}


def test_the_log_belongs_to_the_artifact_that_it_goes_into(studio: Studio) -> None:
    (studio.directory / "work/x/output").mkdir(parents=True)
    assert document(studio)["artifacts"] == {}
    (studio.directory / "log").touch()
    assert document(studio)["artifacts"] == {"output": {"name": "output"}}


def test_a_link_out_of_the_job_is_not_followed_and_a_file_is_content(studio: Studio) -> None:
    home = studio.directory / "work/x"
    home.mkdir(parents=True)
    (home / "modeldir").symlink_to("/etc")
    (home / "retval").touch()
    assert document(studio)["artifacts"] == {"retval": {"name": "retval"}}


@pytest.mark.parametrize(
    ("uri", "mode"),
    [
        ("mem://b/_results.tar", "r:"),
        ("mem://b/_results.tar.gz", "r:gz"),
        ("mem://b/_results.tgz", "r:gz"),
        ("mem://b/_results.tar.bz2", "r:bz2"),
        ("mem://b/_results.tar.xz", "r:xz"),
        ("mem://b/_results", "r:"),
    ],
)
def test_it_is_the_one_file_of_an_archive_compressed_as_its_name_promises(uri: str, mode: Any) -> None:
    content = {"exit_msg": "ok", "artifacts": {"modeldir": {"name": "modeldir"}}}
    body = b"".join(results.archive(content, uri, START_OF_TIME))
    with tarfile.open(fileobj=io.BytesIO(body), mode=mode) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        text = file.read()
    assert (member.name, member.mtime) == ("_results.json", START_OF_TIME)
    assert json.loads(text) == content
    assert b'\n  "exit_msg": "ok"' in text
