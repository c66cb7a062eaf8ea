"""What this host's commands can do with queues that programs of others fill."""

from __future__ import annotations

import pytest
from agent.errors import InvalidInput
from agent.foreign import NoSubmitter, NotedDeadLetters
from agent.model.records import Submission
from agent.ports import Delivery
from agent.results import Results

from tests.fakes import START_OF_TIME, FakeClock, FakeRecords


@pytest.fixture
def results() -> Results:
    return Results(FakeRecords(FakeClock()), "mem://results")


def test_a_job_is_refused_and_the_error_shows_how_to_name_a_queue() -> None:
    submitter = NoSubmitter("studio", "pubsub://lab-1/*", "pubsub://lab-1/SUBSCRIPTION?plain")
    with pytest.raises(
        InvalidInput, match=r'"studio" \(pubsub://lab-1/\*\).*url = "pubsub://lab-1/SUBSCRIPTION\?plain"'
    ):
        submitter.submit(Submission("job-1", {}, "studio", "any-none", 0.0))
    assert (submitter.waiting(), submitter.body("job-1")) == ((), None)


def test_what_cannot_be_run_is_noted_in_the_results_store_once(results: Results) -> None:
    letters = NotedDeadLetters(results, FakeClock())
    assert letters.find("job-1") is None
    for reason in ("first", "second"):
        letters.bury(Delivery("studio:a", "job-1", b"", {}, "h", 0.0), reason, "host-a")
    found = letters.find("job-1")
    assert found is not None
    assert (found.reason, found.host, found.at) == ("first", "host-a", START_OF_TIME)
    assert results.sids() == ("job-1",)
