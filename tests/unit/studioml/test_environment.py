from __future__ import annotations

from typing import Any

import pytest
from agent.studioml.environment import STANDARD_PATH
from agent.studioml.reading import Reading, Rules

from tests.unit.studioml.requests import changed, read, refusal, table


def env(variables: Any, values: dict[str, str] | None = None, name: str = "01_plain") -> dict[str, str]:
    reading = Reading(rules=Rules(environment=values or {}))
    return read(changed("config.env", variables, name), reading).job.env


def test_scalars_become_texts_and_null_is_left_out() -> None:
    found = env({"A": 3, "B": True, "C": 1.5, "D": "", "E": None, "_f": "x"})
    assert {name: found[name] for name in ("A", "B", "C", "D", "_f")} == {
        "A": "3",
        "B": "True",
        "C": "1.5",
        "D": "",
        "_f": "x",
    }
    assert "E" not in found


def test_no_variables_are_no_trouble() -> None:
    assert env(None) == env({}) == env(...)


def test_what_the_operator_gives_is_put_in_and_the_rest_stays() -> None:
    variables = {"A": "%ROOT%/x:%NONE%:%EMPTY%:100%:%A B%:%ROOT%", "B": "$ROOT ${ROOT} `id` $(id)"}
    found = env(variables, {"ROOT": "/data", "EMPTY": ""})
    assert found["A"] == "/data/x:%NONE%:%EMPTY%:100%:%A B%:/data"
    assert found["B"] == variables["B"]


def test_a_path_adds_to_the_usual_one_and_an_image_keeps_its_own() -> None:
    assert env({"PATH": "%PATH%:./bin"})["PATH"] == f"{STANDARD_PATH}:./bin"
    assert env({"PATH": "%PATH%:./bin"}, {"PATH": "/opt/bin"})["PATH"] == "/opt/bin:./bin"
    assert "PATH" not in env({"PATH": "%PATH%:./bin"}, name="02_singularity_localfile")
    assert env({"PATH": "/a:/b"}, name="02_singularity_localfile")["PATH"] == "/a:/b"


@pytest.mark.parametrize("name", ["", "A B", "1A", "A=B", "A-B", "é", "A\n", "A;id"])
def test_names_that_are_none_are_refused(name: str) -> None:
    assert "the name of a variable" in str(refusal(changed("config.env", {name: "x"})))


@pytest.mark.parametrize("variables", ["A=1", ["A"], 5, {"A": []}, {"A": {}}, {"A": "x\0y"}])
def test_variables_that_are_none_are_refused(variables: Any) -> None:
    assert "env" in str(refusal(changed("config.env", variables)))


def test_what_jobs_look_for_cannot_be_changed() -> None:
    request = table()
    request["config"]["env"] = {
        "STUDIOML_HOME": "/etc",
        "STUDIOML_EXPERIMENT": "../x",
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "64",
    }
    request["experiment"]["resources_needed"]["cpus"] = 4
    found = read(request).job.env
    assert "STUDIOML_HOME" not in found
    assert found["STUDIOML_EXPERIMENT"].endswith(".1")
    assert found["CUDA_VISIBLE_DEVICES"] == "-1"
    assert found["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(("cpus", "threads"), [(1, None), (0.5, None), (1.5, "1"), (2, "1"), (8, "7")])
def test_libraries_leave_one_core_to_their_caller(cpus: float, threads: str | None) -> None:
    found = read(changed("experiment.resources_needed.cpus", cpus)).job.env
    assert found.get("OMP_NUM_THREADS") == found.get("MKL_NUM_THREADS") == found.get("GOTO_NUM_THREADS") == threads
    assert found.get("OPENMP") == ("True" if threads else None)
