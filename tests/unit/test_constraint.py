from __future__ import annotations

from typing import Any

import pytest
from agent.errors import InvalidInput
from agent.model.constraint import Constraint, holds, look_up, parse_constraint

FACTS: dict[str, Any] = {
    "jetson": {"l4t": "36.4.3", "super_mode": True},
    "cpu": {"features": ("asimd", "asimddp"), "effective": 6.0, "online": 8, "level": None},
    "host": {"soc": "tegra234", "model": "Orin Nano"},
    "memory": {"total_bytes": 8 * 1024**3},
    "gpus": None,
    "labels": {},
}


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("jetson.l4t >= 36.4", ("jetson.l4t", ">=", "36.4")),
        ("a=b", ("a", "=", "b")),
        ("  a  !=  b c  ", ("a", "!=", "b c")),
        ("a.b_c < 1", ("a.b_c", "<", "1")),
        ('host.model = "Orin Nano"', ("host.model", "=", "Orin Nano")),
        ("cpu.features contains asimddp", ("cpu.features", "contains", "asimddp")),
        ("host.soc matches ^tegra[0-9]+$", ("host.soc", "matches", "^tegra[0-9]+$")),
        ("jetson exists", ("jetson", "exists", "")),
    ],
)
def test_a_constraint_is_a_path_an_operator_and_a_value(text: str, constraint: tuple[str, str, str]) -> None:
    assert parse_constraint(text) == Constraint(*constraint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "PATH OP VALUE"),
        ("jetson", "PATH OP VALUE"),
        ("= 5", "PATH OP VALUE"),
        ("1a = 5", "PATH OP VALUE"),
        ("a == b", "known: = != "),
        ("a =< b", "known: = != "),
        ("a <> b", "known: = != "),
        ("a contain b", 'did you mean "contains"'),
        ("a like b", "known: "),
        ("a =", '"exists" takes no value'),
        ("a exists b", '"exists" takes no value'),
        ("a matches (", "a regular expression"),
        ("os.system('x')", "PATH OP VALUE"),
    ],
)
def test_what_is_no_constraint_is_refused_with_what_would_be_right(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_constraint(text)
    assert hint in str(caught.value)
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "jetson.l4t >= 36.4",
        "jetson.l4t >= 36.4.3",
        "jetson.l4t < 36.10",
        "jetson.l4t != 36.4",
        "jetson.l4t > 5",
        "jetson.super_mode = true",
        "cpu.features contains asimddp",
        "cpu.effective >= 6",
        "cpu.effective < 6.5",
        "cpu.effective > 5.5",
        "cpu.effective > -1",
        "cpu.online = 8",
        "host.soc = tegra234",
        "host.soc matches ^tegra2",
        "host.model contains Nano",
        "host.model = 'Orin Nano'",
        "memory.total_bytes >= 8GiB",
        "memory.total_bytes < 9GB",
        "memory.total_bytes = 8589934592",
        "jetson exists",
        "labels exists",
    ],
)
def test_true_of_the_host(text: str) -> None:
    assert holds(parse_constraint(text), FACTS)


@pytest.mark.parametrize(
    "text",
    [
        "jetson.l4t >= 36.5",
        "jetson.l4t > 36.4.3",
        "jetson.l4t = 36.4",
        "jetson.l4t < 36.4.3.0",
        "jetson.super_mode = false",
        "cpu.features contains asimdd",
        "cpu.features = asimd",
        "cpu.online contains 8",
        "host.soc > tegra1",
        "host.soc = tegra2",
        "memory.total_bytes > 8GiB",
        "cpu.online >= many",
        "cpu.effective >= 6.5",
        "cpu.effective >= nan",
        "host.soc matches 234x",
    ],
)
def test_false_of_the_host(text: str) -> None:
    assert not holds(parse_constraint(text), FACTS)


@pytest.mark.parametrize("path", ["gpus", "cpu.level", "nothing", "host.soc.deeper", "labels.site", "jetson.l4t.36"])
@pytest.mark.parametrize("rest", ["= 1", "!= 1", "< 1", ">= 1", "contains 1", "matches 1", "exists"])
def test_of_what_is_unknown_nothing_is_true(path: str, rest: str) -> None:
    assert not holds(parse_constraint(f"{path} {rest}"), FACTS)


@pytest.mark.parametrize(
    ("older", "newer"), [("9.9", "10.0"), ("36.4", "36.4.1"), ("1.2.3", "1.10"), ("535.161", "550.54.14")]
)
def test_dotted_numbers_compare_as_versions(older: str, newer: str) -> None:
    assert holds(Constraint("v", "<", newer), {"v": older})
    assert holds(Constraint("v", ">", older), {"v": newer})
    assert not holds(Constraint("v", ">=", newer), {"v": older})


def test_trailing_zeros_make_no_other_version() -> None:
    assert holds(Constraint("v", "=", "12.0"), {"v": "12"})
    assert holds(Constraint("v", ">=", "12.0.0"), {"v": "12"})


def test_looking_up_follows_the_dots() -> None:
    assert look_up(FACTS, "host.soc") == "tegra234"
    assert look_up(FACTS, "labels") == {}
    assert look_up(FACTS, "host.nothing.at.all") is None
