from __future__ import annotations

from typing import Any

import pytest
from agent.errors import Dropped
from agent.studioml.reading import Reading
from agent.studioml.resources import cards_for, size_of, slots

from tests.unit.studioml.requests import READING, changed, read, refusal, table

NEEDED = "experiment.resources_needed"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2g", 2_000_000_000),
        ("3gb", 3_000_000_000),
        ("10GB", 10_000_000_000),
        ("4 GiB", 4 * 1024**3),
        ("4Gi", 4 * 1024**3),
        ("512mib", 512 * 1024**2),
        ("1.5k", 1500),
        (".5m", 500_000),
        ("1,000b", 1000),
        ("1tb", 10**12),
        ("1p", 10**15),
        ("1e", 10**18),
        ("1eib", 1024**6),
        ("1024", 1024),
        (1024, 1024),
        (1e9, 10**9),
        (0, 0),
    ],
)
def test_sizes_are_as_go_reads_them(text: Any, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g",
        "lots",
        "-1g",
        "1.2.3g",
        ".",
        ",",
        "2 gx",
        "1z",
        "i",
        "1i",
        "1ib",
        "1e3",
        "16e",
        "9" * 60,
        -1,
        True,
        None,
        [],
        float("nan"),
        float("inf"),
    ],
)
def test_sizes_that_are_none_are_refused(text: Any) -> None:
    with pytest.raises(Dropped, match="is not a size"):
        size_of(text)


@pytest.mark.parametrize(("cpus", "cores"), [(4, 4), ("2", 2), (0.5, 0.5), (0, 1), (None, 1), ("", 1), (..., 1)])
def test_cores_may_be_any_number(cpus: Any, cores: float) -> None:
    assert read(changed(f"{NEEDED}.cpus", cpus)).job.requires.cpus == cores


@pytest.mark.parametrize("name", ["ram", "hdd"])
@pytest.mark.parametrize("size", [None, "", ..., 0, "0g", "x"])
def test_memory_and_disk_must_be_said(name: str, size: Any) -> None:
    assert f"resources_needed.{name}" in str(refusal(changed(f"{NEEDED}.{name}", size)))


@pytest.mark.parametrize("needed", [None, {}, ..., [], "2g"])
def test_needs_must_be_said(needed: Any) -> None:
    assert "resources_needed" in str(refusal(changed(NEEDED, needed)))


@pytest.mark.parametrize(
    ("asked", "gpus", "where"),
    [
        ({}, 0, ()),
        ({"gpus": 0, "gpuMem": 0, "gpuCount": 0}, 0, ()),
        ({"gpus": None, "gpuMem": None}, 0, ()),
        ({"gpus": "", "gpuMem": ""}, 0, ()),
        ({"gpus": 0, "gpuMem": "4gb"}, 0, ()),
        ({"gpus": 2}, 2, ()),
        ({"gpus": "2", "gpuMem": "4gb"}, 2, ("memory_bytes >= 4000000000",)),
        ({"gpus": 1.0, "gpuMem": 0, "gpuMemStrict": True}, 1, ()),
        ({"gpuCount": "1"}, 1, ()),
        ({"gpus": 16, "gpuCount": 2, "gpuMem": "8gb"}, 2, ("memory_bytes >= 8000000000",)),
    ],
)
def test_gpus_are_asked_for_as_shares_or_as_cards(asked: dict[str, Any], gpus: int, where: tuple[str, ...]) -> None:
    request = table()
    request["experiment"]["resources_needed"] = {"cpus": 1, "ram": "2g", "hdd": "3g", **asked}
    job = read(request).job
    assert (job.requires.gpus, job.requires.gpu_where) == (gpus, where)
    assert job.accel == ("nvidia" if gpus else "none")
    assert ("CUDA_VISIBLE_DEVICES" in job.env) == (not gpus)


@pytest.mark.parametrize("name", ["gpus", "gpuCount"])
@pytest.mark.parametrize("count", [-1, 1.5, "x", [], True, 1e30])
def test_gpus_are_counted_in_whole_numbers(name: str, count: Any) -> None:
    assert "number" in str(refusal(changed(f"{NEEDED}.{name}", count)))


@pytest.mark.parametrize(
    ("card", "count"),
    [
        ("NVIDIA GeForce GTX 1050 Ti", 2),
        ("GeForce RTX 2080 Ti", 2),
        ("NVIDIA TITAN X (Pascal)", 2),
        ("Tesla K80", 2),
        ("Tesla P40", 4),
        ("Tesla P100-PCIE-16GB", 8),
        ("Tesla V100-SXM2-16GB", 16),
        ("NVIDIA A100-SXM4-40GB", 24),
        ("NVIDIA A100-PCIE-80GB", 1),
        ("NVIDIA GeForce GTX 1650", 1),
        ("Orin (nvgpu)", 1),
        ("", 1),
    ],
)
def test_a_card_has_shares_by_its_name(card: str, count: int) -> None:
    assert slots(card) == count


V100, P40, ORIN = "Tesla V100-SXM2-16GB", "Tesla P40", "Orin (nvgpu)"


@pytest.mark.parametrize(
    ("shares", "cards", "count", "names"),
    [
        (2, (), 2, ()),
        (2, (ORIN,), 2, ()),
        (1, (ORIN, V100), 1, ()),
        (16, (V100, V100), 1, ()),
        (17, (V100, V100), 2, ()),
        (4, (ORIN, P40), 1, (P40,)),
        (16, (ORIN, P40, P40, V100), 1, (V100,)),
        (8, (P40, P40), 2, ()),
        (100, (P40, V100), 25, ()),
    ],
)
def test_shares_become_the_fewest_cards_that_have_them(
    shares: int, cards: tuple[str, ...], count: int, names: tuple[str, ...]
) -> None:
    assert cards_for(shares, cards) == (count, names)


def test_the_cards_that_do_are_named_in_the_job() -> None:
    reading = Reading(queue=READING.queue, gpus=(ORIN, P40))
    job = read(changed(NEEDED, {"cpus": 1, "ram": "2g", "hdd": "3g", "gpus": 4, "gpuMem": "1gb"}), reading).job
    assert job.requires.gpus == 1
    assert job.requires.gpu_where == ("memory_bytes >= 1000000000", ('name = "Tesla P40"',))
