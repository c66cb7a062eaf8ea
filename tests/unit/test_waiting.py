from __future__ import annotations

import pytest

from tests.waiting import wait_until


def test_wait_until_returns_when_the_condition_becomes_true() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), timeout=5)
    assert list(answers) == []


def test_wait_until_says_what_did_not_happen_in_time() -> None:
    with pytest.raises(AssertionError, match=r"within 0.02 s: the lamp is on"):
        wait_until(lambda: False, timeout=0.02, what="the lamp is on")
