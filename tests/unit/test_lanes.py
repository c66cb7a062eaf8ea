from __future__ import annotations

import pytest
from agent.lanes import has_room, lane_name, lanes_served
from agent.model.capabilities import Capabilities, Gpu, JetsonFacts, RuntimeFacts
from agent.model.job import parse_job
from agent.model.share import Share

NVIDIA = (Gpu(vendor="nvidia", usable=True, units=("GPU-1",)),)


def host(
    *archs: str,
    emulated: tuple[str, ...] = (),
    gpus: tuple[Gpu, ...] | None = None,
    jetson: JetsonFacts | None = None,
) -> Capabilities:
    return Capabilities(runtime=RuntimeFacts(archs=archs or None, emulated=emulated), gpus=gpus, jetson=jetson)


@pytest.mark.parametrize(
    ("served_by", "lanes"),
    [
        (host("amd64", "386"), ("amd64-none", "386-none", "any-none")),
        (
            host("amd64", gpus=NVIDIA),
            ("amd64-nvidia", "amd64-none", "any-nvidia", "any-none"),
        ),
        (
            host("arm64", jetson=JetsonFacts()),
            ("arm64-jetson", "arm64-nvidia", "arm64-none", "any-jetson", "any-nvidia", "any-none"),
        ),
        (host("arm"), ("arm-none",)),
        (host("riscv64"), ("riscv64-none",)),
        (host(), ()),
    ],
)
def test_the_lanes_of_a_host(served_by: Capabilities, lanes: tuple[str, ...]) -> None:
    assert lanes_served(served_by) == lanes


def test_emulated_lanes_need_operator_and_kernel_and_have_no_accelerator() -> None:
    able = host("amd64", emulated=("arm64", "riscv64"), gpus=NVIDIA)
    assert "arm64-none" not in lanes_served(able)
    lanes = lanes_served(able, ("arm64", "s390x"))
    assert "arm64-none" in lanes
    assert not {"arm64-nvidia", "s390x-none", "riscv64-none"} & set(lanes)


def test_a_gpu_that_cannot_be_used_serves_no_lane() -> None:
    broken = (Gpu(vendor="nvidia", usable=False, reason="no-driver"),)
    assert lanes_served(host("riscv64", gpus=broken)) == ("riscv64-none",)


@pytest.mark.parametrize(
    ("job", "lane"),
    [
        ({"image": "file:///a.sif"}, "any-none"),
        ({"image": {"arm64": "file:///a.sif"}}, "arm64-none"),
        ({"image": "file:///a.sif", "requires": {"arch": ["amd64"], "gpus": 1}}, "amd64-nvidia"),
    ],
)
def test_a_job_has_the_lane_of_its_architecture_and_accelerator(job: dict[str, object], lane: str) -> None:
    assert lane_name(*parse_job(job).lane) == lane


@pytest.mark.parametrize(
    ("free", "lane", "room"),
    [
        (Share(0.5, 0), "arm64-none", True),
        (Share(0.0, 1 << 30), "arm64-none", False),
        (Share(1.0, 1 << 30), "any-nvidia", False),
        (Share(1.0, 1 << 30, 0, ("GPU-1",)), "any-nvidia", True),
        (Share(1.0, 1 << 30), "arm64-jetson", False),
        (Share(0.0, 1 << 30, 0, ("GPU-1",)), "arm64-jetson", False),
        (Share(1.0, 1 << 30), "", True),
    ],
)
def test_a_lane_is_worth_asking_while_there_is_cpu_time_and_a_gpu_where_its_jobs_want_one(
    free: Share, lane: str, room: bool
) -> None:
    assert has_room(free, lane) is room
