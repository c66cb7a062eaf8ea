from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from agent.errors import JobFault, StoreUnavailable
from agent.studioml import record
from agent.studioml.origin import Database
from agent.studioml.record import StatusRecord, is_stopped, record_uri

from tests.unit.studioml.studio_world import RECORD, Studio, origin

WAITING = {"key": "k", "status": "waiting", "time_added": 1.5, "unknown": {"deep": [None, "ü"]}, "time_started": None}


def status_record(studio: Studio) -> StatusRecord:
    return StatusRecord(studio.objects(), RECORD)


def test_only_databases_on_s3_are_within_reach() -> None:
    assert record_uri(origin()) == RECORD
    assert record_uri(origin(database=Database("firebase", "mem://db/"))) is None
    assert record_uri(origin(database=Database("s3", None))) is None
    assert record_uri(origin(database=Database())) is None


def test_a_key_is_never_a_path_out_of_the_records() -> None:
    assert record_uri(origin(experiment="a b?c#d")) == "mem://db/experiments/a%20b%3Fc%23d"


def test_a_key_that_leads_out_of_the_records_is_refused(studio: Studio) -> None:
    uri = record_uri(origin(experiment="../../other"))
    assert uri is not None
    with pytest.raises(JobFault, match="not allowed"):
        StatusRecord(studio.objects(), uri).stop_wanted()


def test_the_life_of_an_experiment_with_all_its_other_fields_kept(studio: Studio) -> None:
    studio.put(RECORD, WAITING)
    own = status_record(studio)
    own.change(partial(record.running, started_at=10.5))
    assert studio.get_json(RECORD) == {**WAITING, "status": "running", "time_started": 10.5}
    own.change(partial(record.saved, at=20.5))
    own.change(partial(record.finished, at=30.5))
    expected = {"status": "finished", "time_started": 10.5, "time_last_checkpoint": 20.5, "time_finished": 30.5}
    assert studio.get_json(RECORD) == {**WAITING, **expected}


def test_an_experiment_that_is_given_back_waits_again(studio: Studio) -> None:
    studio.put(RECORD, {**WAITING, "status": "running", "time_started": 10.5})
    status_record(studio).change(record.waiting)
    assert studio.get_json(RECORD) == WAITING


@pytest.mark.parametrize("change", [partial(record.running, started_at=1.0), record.waiting])
def test_a_wish_to_stop_is_never_overwritten_before_the_end(studio: Studio, change: Any) -> None:
    studio.put(RECORD, {**WAITING, "status": "Stopped"})
    own = status_record(studio)
    own.change(change)
    assert own.stop_wanted()
    own.change(partial(record.finished, at=2.0))
    assert not own.stop_wanted()


def test_a_record_that_is_not_there_is_not_made(studio: Studio) -> None:
    own = status_record(studio)
    assert not own.stop_wanted()
    own.change(partial(record.finished, at=1.0))
    assert studio.artifacts.uris == ()


def test_nothing_is_written_when_nothing_changes(studio: Studio) -> None:
    body = b'{"status":   "waiting", "time_started": null}'
    studio.put(RECORD, body)
    status_record(studio).change(record.waiting)
    assert studio.get(RECORD) == body


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900]
)
def test_what_is_no_record_is_left_alone(studio: Studio, body: bytes) -> None:
    studio.put(RECORD, body)
    try:
        status_record(studio).change(partial(record.finished, at=1.0))
    except JobFault:
        assert studio.get(RECORD) == body
    else:
        assert studio.get_json(RECORD)["status"] == "finished"


def test_a_record_of_any_size_does_not_fill_the_host(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LARGEST", 10)
    studio.put(RECORD, WAITING)
    with pytest.raises(JobFault, match="larger than 10 bytes"):
        status_record(studio).stop_wanted()


def test_a_database_that_is_away_is_said(studio: Studio) -> None:
    studio.artifacts.down = True
    with pytest.raises(StoreUnavailable):
        status_record(studio).stop_wanted()


@pytest.mark.parametrize("status", ["stopped", "STOPPED", "Stopped"])
def test_stopped_is_stopped_however_it_is_written(status: str) -> None:
    assert is_stopped({"status": status})


@pytest.mark.parametrize("fields", [{}, {"status": None}, {"status": ["stopped"]}, {"status": "finished"}])
def test_anything_else_is_not(fields: dict[str, Any]) -> None:
    assert not is_stopped(fields)
