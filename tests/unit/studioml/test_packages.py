from __future__ import annotations

from typing import Any

import pytest
from agent.model.cargo import Venv

from tests.unit.studioml.requests import changed, read, refusal


def venv(lines: Any, **more: Any) -> Venv:
    request = changed("experiment.pythonenv", lines)
    request["experiment"]["resources_needed"] |= {"gpus": more.pop("gpus", 0)}
    request["config"] |= {"pip": None, **more}
    found = read(request).cargo.venv
    assert found is not None
    return found


def test_packages_are_those_that_the_client_had() -> None:
    lines = ["numpy==1.26.4", "-e git+https://example.com/a.git@1#egg=a", "b @ file:///srv/b", "studioml==0.0.49"]
    assert venv(lines) == Venv("3.11", tuple(lines))
    assert venv(None) == venv([]) == Venv("3.11")
    assert venv(["a==1"], pip=["six", "b>=2"]) == Venv("3.11", ("a==1",), ("six", "b>=2"))


def test_lines_that_are_no_packages_are_left_out() -> None:
    lines = [
        "pkg-resources==0.0.0",
        "pkg_resources==0.0.0",
        "",
        "  ",
        "# Editable install with no version control",
        " a==1 ",
    ]
    assert venv(lines).requirements == ("a==1",)


@pytest.mark.parametrize(
    ("lines", "gpus", "found"),
    [
        (["tensorflow==1.4.0"], 1, ["tensorflow_gpu==1.4.0"]),
        (["tensorflow==1.4.0"], 0, ["tensorflow==1.4.0"]),
        (["tensorflow==2.11.1"], 1, ["tensorflow_gpu==2.11.1"]),
        (["tensorflow==2.16.1"], 1, ["tensorflow==2.16.1"]),
        (["tensorflow==1.4.0", "tensorflow_gpu==1.4.0"], 1, ["tensorflow==1.4.0", "tensorflow_gpu==1.4.0"]),
        (["tensorflow==1.4.0", "tensorflow-gpu==1.4.0"], 1, ["tensorflow==1.4.0", "tensorflow-gpu==1.4.0"]),
        (["tensorflow-estimator==1.4.0", "tensorflow>=1"], 1, ["tensorflow-estimator==1.4.0", "tensorflow>=1"]),
    ],
)
def test_with_gpus_tensorflow_is_the_one_for_gpus(lines: list[str], gpus: int, found: list[str]) -> None:
    assert list(venv(lines, gpus=gpus).requirements) == found


@pytest.mark.parametrize(
    "lines",
    [["a==1\n--index-url http://evil"], ["-r /etc/passwd"], ["--index-url=http://evil"], ["a\0"], [5], "a==1", {}],
)
def test_lines_that_are_more_than_packages_are_refused(lines: Any) -> None:
    assert "pythonenv" in str(refusal(changed("experiment.pythonenv", lines)))
    assert "pip" in str(refusal(changed("config.pip", lines)))


@pytest.mark.parametrize(
    ("pythonver", "version"),
    [("3.11", "3.11"), (3, "3"), (3.6, "3.6"), (3.1, "3.10"), ("3.11.4", "3.11.4"), (None, ""), ("", ""), (..., "")],
)
def test_the_version_of_python_comes_in_many_forms(pythonver: Any, version: str) -> None:
    found = read(changed("experiment.pythonver", pythonver)).cargo.venv
    assert found is not None
    assert found.python == version


@pytest.mark.parametrize("pythonver", ["three", "3.x", "../bin/sh", "3.11; rm", -3, True, [], 1e300, "3" * 50])
def test_a_version_that_is_none_is_refused(pythonver: Any) -> None:
    assert "pythonver" in str(refusal(changed("experiment.pythonver", pythonver)))
