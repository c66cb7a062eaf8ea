"""A short run of each kind of queue; `make chaos` does long ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos import image
from tests.chaos.running import Plan, go

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount file systems"),
    pytest.mark.timeout(500),
]


@pytest.fixture(scope="module")
def jobs_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("image") / "jobs.sif"
    image.build(target)
    return target


@pytest.mark.parametrize("queue", ["dir", "pubsub", "s3"])
def test_nothing_is_lost_done_twice_or_left_whatever_goes_wrong(
    queue: str, tmp_path: Path, jobs_image: Path, tools_cache: Path
) -> None:
    plan = Plan(seed=5, queue=queue, jobs=14, hosts=3, seconds=12, patience=240)
    report = go(plan, tmp_path, jobs_image, tools_cache)
    assert report.violations == (), report
    assert sum(report.faults.values()) >= len(plan.faults) - 2, "jobs to be killed may be over already"
