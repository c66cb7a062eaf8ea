from __future__ import annotations

from typing import Any

import pytest
from agent.studioml.durations import seconds

from tests.unit.studioml.requests import changed, read, refusal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20m", 1200),
        ("96h30m", 347_400),
        ("1.5h", 5400),
        ("1.h", 3600),
        (".5m", 30),
        ("5s10m", 605),
        ("300ms", 0.3),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("7ns", 7e-9),
        ("+1m", 60),
        ("-1m", -60),
        ("0", 0),
        ("1H30M", 5400),
        ("", None),
        ("1d", None),
        ("1 h", None),
        ("5", None),
        ("h", None),
        ("1h x", None),
        ("1..5h", None),
        ("٣h", None),
        ("1e3s", None),
        ("--1h", None),
        ("9" * 50 + "h", None),
        ("1h" * 1000, None),
    ],
)
def test_durations_are_as_go_writes_them(text: str, found: float | None) -> None:
    assert seconds(text) == (None if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    ("frequency", "pause"),
    [
        ("5m", 300),
        ("1m30s", 90),
        (1, 60),
        (2.5, 150),
        ("5", 300),
        ("1s", 10),
        ("0", None),
        (0, None),
        (None, None),
        ("", None),
        (..., None),
    ],
)
def test_results_are_uploaded_as_often_as_the_client_wants_and_not_too_often(
    frequency: Any, pause: float | None
) -> None:
    decoded = read(changed("config.saveWorkspaceFrequency", frequency))
    assert {output.every for output in decoded.job.outputs} == {pause}
    assert decoded.cargo.origin["checkpoint_every"] == pause


@pytest.mark.parametrize("frequency", ["often", "-5m", -1, [], True, "1d"])
def test_a_frequency_that_is_none_is_refused(frequency: Any) -> None:
    assert "saveWorkspaceFrequency" in str(refusal(changed("config.saveWorkspaceFrequency", frequency)))


@pytest.mark.parametrize(("frequency", "pause"), [(30, 30), ("45", 45), (2, 10), (0, 300), (None, 300), (-1, 300)])
def test_an_artifact_may_have_a_frequency_of_its_own_in_seconds(frequency: Any, pause: float) -> None:
    job = read(changed("experiment.artifacts.modeldir.saveFrequency", frequency)).job
    assert {output.path.rpartition("/")[2]: output.every for output in job.outputs} == {
        "modeldir": pause,
        **dict.fromkeys(("_metrics", "output", "retval", "tb"), 300),
    }
