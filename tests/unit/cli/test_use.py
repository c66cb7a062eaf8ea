from __future__ import annotations

import pytest
from agent.cli.use import show_usage
from agent.model.usage import Usage

MIB = 1024**2


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (
            Usage(1.25, 130 * MIB, 3.0, bytes_in=12 * MIB, bytes_out=10, ended_by="itself"),
            "1.2 s of CPU time in 3.0 s, at most 130 MiB of memory; 12 MiB fetched, 10 B stored; ended by itself",
        ),
        (
            Usage(1.0, MIB, 700.0, 2048 * MIB, 0.914, ended_by="timeout"),
            "1.0 s of CPU time in 11m40s, at most 1 MiB of memory, at most 2 GiB of GPU memory, GPUs busy 91% of the "
            "time; 0 B fetched, 0 B stored; ended from outside: timeout",
        ),
        (
            Usage(1.0, None, 2.0, 2048 * MIB, 0.5, 0.75, "job", "job"),
            "1.0 s of CPU time in 2.0 s, at most 2 GiB of GPU memory, GPUs busy 50% of the time (at most 75%); "
            "0 B fetched, 0 B stored",
        ),
        (
            Usage(1.0, None, 2.0, 2048 * MIB, 0.5, 0.75, "unit", "unit"),
            "1.0 s of CPU time in 2.0 s, at most 2 GiB of GPU memory by all on them, GPUs busy 50% of the time "
            "(at most 75%) by all on them; 0 B fetched, 0 B stored",
        ),
        (Usage(bytes_in=5), "no use was measured; 5 B fetched, 0 B stored"),
    ],
)
def test_what_is_not_known_is_left_out(used: Usage, words: str) -> None:
    assert show_usage(used) == words
