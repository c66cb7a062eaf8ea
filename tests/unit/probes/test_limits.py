from __future__ import annotations

from typing import Any

import pytest
from agent.probes.limits import judge


def test_limits_that_could_be_set_are_exact() -> None:
    assert judge({"step": "done"}) == ("exact", "", "")


@pytest.mark.parametrize(
    ("answer", "why", "remedy"),
    [
        ({"step": "tree"}, "there is no cgroup v2 tree", "unified_cgroup_hierarchy"),
        ({"step": "controllers", "path": "/g", "missing": "cpu, pids"}, "/g does not offer cpu, pids", "Delegate=yes"),
        (
            {"step": "controllers", "path": "/g", "missing": "memory"},
            "/g does not offer memory",
            "cgroup_enable=memory",
        ),
        ({"step": "make", "path": "/g", "error": "Permission denied"}, "made (Permission denied)", "Delegate=yes"),
        ({"step": "kill", "path": "/g", "error": "No such file"}, "before kernel 5.14", "kernel"),
        ({"step": "type", "path": "/g", "error": "invalid"}, "/g takes no processes (invalid)", "threaded"),
        ({"step": "enable", "path": "/g", "error": "busy"}, "switched on in /g (busy)", "DelegateSubgroup=agent"),
        ({"step": "write", "path": "/g", "error": "memory.max"}, "set in /g (memory.max)", "Delegate=yes"),
        ({"step": "of a later release"}, 'ended at "of a later release"', "Delegate=yes"),
        ({}, 'ended at ""', "Delegate=yes"),
    ],
)
def test_anything_else_is_best_effort_with_the_reason_and_a_remedy(
    answer: dict[str, str], why: str, remedy: str
) -> None:
    found = judge(answer)
    assert found is not None
    assert found.kind == "best-effort"
    assert why in found.why
    assert remedy in found.remedy


@pytest.mark.parametrize("answer", [None, "done", 3, []])
def test_without_an_answer_nothing_is_known(answer: Any) -> None:
    assert judge(answer) is None
