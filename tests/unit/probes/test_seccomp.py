from __future__ import annotations

import pytest
from agent.probes.seccomp import Seccomp, has_more, parse_seccomp

STATUS = "WARNING: of the runtime\nName:\tcat\nSeccomp:\t2\nSeccomp_filters:\t3\nCpus:\t1\n"


def test_mode_and_number_are_read_among_other_lines() -> None:
    assert parse_seccomp(STATUS) == Seccomp(2, 3)
    assert parse_seccomp("Seccomp:\t0\n") == Seccomp(0, None)
    assert parse_seccomp("Name:\tcat\n") == Seccomp(None, None)


@pytest.mark.parametrize(
    ("inside", "outside", "more"),
    [
        (Seccomp(2, 1), Seccomp(0, 0), True),
        (Seccomp(2, 2), Seccomp(2, 1), True),
        (Seccomp(2, 1), Seccomp(2, 1), False),
        (Seccomp(0, 0), Seccomp(0, 0), False),
        (Seccomp(2, None), Seccomp(0, None), True),
        (Seccomp(2, None), Seccomp(2, None), None),
        (Seccomp(None, None), Seccomp(None, None), False),
    ],
)
def test_a_filter_of_a_container_is_one_more_than_there_is_outside(
    inside: Seccomp, outside: Seccomp, more: bool | None
) -> None:
    assert has_more(inside, outside) is more
