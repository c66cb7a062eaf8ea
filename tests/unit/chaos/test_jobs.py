from __future__ import annotations

import pytest
from agent.model.job import parse_job

from tests.chaos.jobs import EXPECTED, table
from tests.chaos.schedule import Task


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_every_kind_is_a_valid_job_or_no_job_at_all(kind: str) -> None:
    written = table(Task(3, kind, 0.0, 1.5, 5, 0.0), "file:///jobs.sif", 4711, "file:///published")
    if kind == "undecodable":
        assert written is None
        return
    assert written is not None
    job = parse_job(written)
    assert job.lane == ("any", "none")
    assert "/dev/tcp/127.0.0.1/4711" in str(job.command)
    assert "SECONDS" not in str(job.command)
