"""Whatever stands in the files and answers that tell of GPUs: no probe fails, and the profile can be written."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from agent.probes import probe_host

from tests.unit.probes.fakehost import FakeHost
from tests.unit.probes.test_gpu import A10, GRACE_NODES, MEMINFO, module, ok, pci, tegra

_ADDRESS = "0000:01:00.0"
_FILES = {
    **MEMINFO,
    **tegra("tegra264"),
    **pci(_ADDRESS),
    **module(_ADDRESS),
    **GRACE_NODES,
    "/proc/driver/nvidia/version": "NVRM version: 1.2",
    f"/proc/driver/nvidia/gpus/{_ADDRESS}/numa_status": "Node: 1\nStatus: online",
}
_TEXTS = (
    "",
    "\0\0",
    "x" * 50,
    "-1",
    "9" * 30,
    "0-3",
    "0-" + "9" * 30,
    "NotSupported",
    "[[",
    "²",
    "٣",
    "Node 1 MemTotal: ² kB",
)
_VALUES: tuple[Any, ...] = (
    None,
    1,
    -1,
    True,
    1.5,
    "",
    "NotSupported",
    "GpuIsLost",
    [],
    [None],
    [1, 1],
    [{}],
    {},
    10**40,
)
_FIELDS = (*A10, "mig_devices", "addressing_mode", "handle", "error")


def _host(seed: int) -> FakeHost:
    chance = random.Random(seed)
    files = {path: chance.choice(_TEXTS) if chance.random() < 0.2 else text for path, text in _FILES.items()}
    noise = {field: chance.choice(_VALUES) for field in _FIELDS}
    device = chance.choice((chance.choice(_VALUES), noise, {**A10, chance.choice(_FIELDS): chance.choice(_VALUES)}))
    answer = chance.choice((ok(device, A10), {"init": "ok", "devices": device}, device))
    return FakeHost(files, nvml=answer, dev_nodes=chance.choice((None, ("/dev/dxg",), ("/dev/nvidia0",))))


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_broken_facts_are_unknown_facts(seed: int) -> None:
    for number in range(seed, seed + 100):
        profile = probe_host(_host(number), host_id="a")
        assert json.dumps(profile.table())
        failed = [problem for problem in profile.problems if problem.probe in ("gpus", "cuda")]
        assert failed == [], number
