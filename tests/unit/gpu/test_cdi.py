from __future__ import annotations

import json
from typing import Any

import pytest
from agent.errors import InvalidInput
from agent.gpu.cdi import edits_of, parse_specification
from agent.gpu.edits import Edits
from agent.model.run import Mount

COMMON: dict[str, Any] = {
    "deviceNodes": [{"path": "/dev/nvidiactl"}, {"path": "/dev/nvidia-uvm"}],
    "mounts": [{"hostPath": "/usr/bin/nvidia-smi", "containerPath": "/usr/bin/nvidia-smi", "options": ["ro", "bind"]}],
    "env": ["NVIDIA_VISIBLE_DEVICES=void"],
    "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk"}],
}


def device(name: str, *nodes: str) -> dict[str, Any]:
    return {"name": name, "containerEdits": {"deviceNodes": [{"path": node} for node in nodes]}}


def specification(*devices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    table = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "containerEdits": COMMON, "devices": list(devices)}
    return {**table, **changes}


ZERO, ONE = device("0", "/dev/nvidia0"), device("1", "/dev/nvidia1")
ALL = device("all", "/dev/nvidia0", "/dev/nvidia1")


def found(*devices: dict[str, Any], **changes: Any) -> Any:
    return [parse_specification(json.dumps(specification(*devices, **changes)), is_json=True)]


def nodes(edits: Edits | None) -> tuple[str, ...] | None:
    return None if edits is None else edits.nodes


def test_a_device_gets_what_all_need_and_its_own() -> None:
    assert edits_of(found(ZERO), "GPU-a", frozenset({"/dev/nvidia0"})) == Edits(
        ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"),
        (Mount("/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"),),
        {"NVIDIA_VISIBLE_DEVICES": "void"},
    )


def test_the_device_is_the_one_with_the_units_own_nodes_whatever_it_is_called() -> None:
    known = found(ALL, device("0", "/dev/nvidia1"), device("1", "/dev/nvidia0"))
    assert nodes(edits_of(known, "GPU-a", frozenset({"/dev/nvidia0"}))) == (
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia0",
    )


@pytest.mark.parametrize(
    "device_of_unit",
    [device("GPU-a", "/dev/nvidia1"), device("GPU-a", "/dev/nvidia0", "/dev/nvidia1"), device("GPU-a")],
    ids=["another", "both", "none"],
)
def test_a_device_with_the_units_name_and_other_nodes_is_not_the_unit(device_of_unit: dict[str, Any]) -> None:
    assert edits_of(found(device_of_unit), "GPU-a", frozenset({"/dev/nvidia0"})) is None


def test_an_instance_is_told_by_its_capabilities() -> None:
    caps = [f"/dev/nvidia-caps/nvidia-cap{number}" for number in (30, 31, 39, 40)]
    known = found(ZERO, device("0:0", "/dev/nvidia0", *caps[:2]), device("0:1", "/dev/nvidia0", *caps[2:]))
    chosen = edits_of(known, "MIG-b", frozenset({"/dev/nvidia0", *caps[2:]}))
    assert nodes(chosen) == ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0", *caps[2:])


def test_a_node_of_a_gpu_among_what_all_need_fits_no_unit_but_that_one() -> None:
    common = {"deviceNodes": [{"path": "/dev/nvidia1"}]}
    assert edits_of(found(ZERO, containerEdits=common), "GPU-a", frozenset({"/dev/nvidia0"})) is None


def test_without_own_nodes_the_only_device_is_meant_under_all_its_names() -> None:
    jetson = (device("0", "/dev/nvmap"), device("all", "/dev/nvmap"))
    assert nodes(edits_of(found(*jetson), "igpu0", frozenset())) == ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvmap")
    assert edits_of(found(ZERO, ONE), "igpu0", frozenset()) is None


def test_the_first_specification_that_fits_counts() -> None:
    both = [*found(ONE), *found(ZERO, containerEdits={}), *found(ZERO)]
    assert nodes(edits_of(both, "GPU-a", frozenset({"/dev/nvidia0"}))) == ("/dev/nvidia0",)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([], "the specification is list"),
        (specification(kind=None), "kind is None"),
        (specification(devices={}), "devices is dict"),
        (specification({"containerEdits": {}}), "name is None"),
        (specification(containerEdits=[1]), "containerEdits is list"),
        (specification(device("0", "/etc/shadow")), "the node /etc/shadow is not below /dev"),
        (specification(device("0", "/dev/../etc/shadow")), "is not absolute"),
        (specification(device("0", "dev/nvidia0")), "is not absolute"),
        (specification(device("0", "/dev/a\nb")), "one line"),
        (specification(containerEdits={"env": ["NOTHING"]}), "NAME=VALUE"),
        (specification(containerEdits={"mounts": [{"hostPath": "/a"}]}), "containerPath is None"),
        (
            specification(containerEdits={"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/nvidia7"}]}),
            "another path on the host",
        ),
    ],
)
def test_a_specification_that_cannot_be_followed_says_why(table: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        parse_specification(json.dumps(table), is_json=True)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "kind: nvidia.com/gpu"])
def test_what_is_no_json_says_so(text: str) -> None:
    with pytest.raises(InvalidInput, match="no JSON"):
        parse_specification(text, is_json=True)
