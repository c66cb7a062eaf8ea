"""GPU units from the configuration to the container: what the agent gives, what a job is granted, what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.adapters.plain_process import environment
from agent.admission import admit
from agent.attempt import Attempt
from agent.config.load import assemble
from agent.config.merge import Layer
from agent.errors import HostFault
from agent.lanes import lanes_served
from agent.matching import chosen_units
from agent.model.capabilities import Capabilities, Gpu, JetsonFacts
from agent.model.job import parse_job
from agent.model.run import NO_DEVICES
from agent.probes import reasons
from agent.steps.run import container_run
from agent.wiring import lanes_of, share_of
from agent.worker import stage_and_launch

from tests.fakes import FakeGpus
from tests.worlds import GIB, IMAGE, SHARE, World, profile, world

A10 = Gpu(vendor="nvidia", name="A10", uuid="GPU-a", memory_bytes=24 * GIB, usable=True, units=("GPU-a",))
SAME = msgspec.structs.replace(A10, uuid="GPU-b", units=("GPU-b",))
A100 = Gpu(vendor="nvidia", name="A100", uuid="GPU-c", memory_bytes=40 * GIB, usable=True, units=("GPU-c",))
MIG = msgspec.structs.replace(A100, uuid="GPU-d", units=("MIG-1", "MIG-2"))
LOST = reasons.judged(msgspec.structs.replace(A10, uuid="GPU-e"), reasons.LOST)
GPUS = (A100, A10, SAME, MIG, LOST)
ALL = ("GPU-c", "GPU-a", "GPU-b", "MIG-1", "MIG-2")


def chosen(requires: dict[str, Any], free: Sequence[str] = ALL, gpus: tuple[Gpu, ...] = GPUS) -> Any:
    return chosen_units(parse_job({"image": IMAGE, "requires": requires}), Capabilities(gpus=gpus), free)


# --- the choice ---


@pytest.mark.parametrize(
    ("requires", "free", "units"),
    [
        ({}, ALL, ()),
        ({"gpus": 1}, ALL, ("MIG-1",)),
        ({"gpus": 1}, ("GPU-c", "GPU-b"), ("GPU-b",)),
        ({"gpus": 1, "gpu_where": ["memory_bytes >= 30GiB", "name = A100"]}, ("GPU-c", "GPU-a"), ("GPU-c",)),
        ({"gpus": 2}, ("GPU-c", "GPU-a", "GPU-b", "MIG-2"), ("GPU-a", "GPU-b")),
        ({"gpus": 3}, ("GPU-c", "GPU-a", "MIG-2"), ("MIG-2", "GPU-a", "GPU-c")),
        ({"gpus": 2}, ("GPU-a",), None),
        ({"gpus": 1}, ("GPU-e", "GPU-z"), None),
    ],
    ids=["none", "smallest", "free", "wanted", "alike", "mixed", "too-few", "withdrawn"],
)
def test_the_smallest_units_that_fit_are_granted_alike_where_possible(
    requires: dict[str, Any], free: Sequence[str], units: tuple[str, ...] | None
) -> None:
    assert chosen(requires, free) == units


def test_the_choice_does_not_hang_on_the_order_of_what_is_free() -> None:
    assert chosen({"gpus": 2}, ALL[::-1]) == chosen({"gpus": 2}, ALL) == ("MIG-1", "MIG-2")


# --- the share ---


def config(*gpus: str) -> Any:
    table = {"resources": {"gpus": list(gpus)}} if gpus else {}
    return assemble([Layer(table, {})], "/state").config


def host(*gpus: Gpu, jetson: JetsonFacts | None = None) -> Capabilities:
    return msgspec.structs.replace(profile("host-a"), gpus=gpus, jetson=jetson)


@pytest.mark.parametrize(
    ("wanted", "units"),
    [
        ((), ALL),
        (("all",), ALL),
        (("none",), ()),
        (("GPU-b", "MIG-2"), ("GPU-b", "MIG-2")),
        (("GPU-d",), ("MIG-1", "MIG-2")),
        (("GPU-e", "GPU-z"), ()),
    ],
    ids=["default", "all", "none", "named", "divided", "withdrawn"],
)
def test_the_share_has_the_units_of_usable_gpus_that_the_configuration_gives(
    wanted: tuple[str, ...], units: tuple[str, ...]
) -> None:
    assert share_of(config(*wanted), host(*GPUS)).gpus == units


def test_lanes_of_accelerators_are_served_where_the_share_has_one() -> None:
    jetson = host(A10, jetson=JetsonFacts())
    assert lanes_of(config(), jetson) == lanes_served(jetson)
    assert "amd64-jetson" in lanes_of(config(), jetson)
    assert lanes_of(config("none"), jetson) == ("amd64-none", "any-none")
    assert lanes_of(config(), host(LOST)) == ("amd64-none", "any-none")


# --- the grant ---


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path, share=msgspec.structs.replace(SHARE, gpus=("GPU-a", "GPU-c")))
    made.change(profile=lambda: host(A10, A100, LOST), gpus=FakeGpus())
    return made


def admitted(made: World, **requires: Any) -> Attempt | None:
    made.submit(requires={"cpus": 0.5, **requires})
    delivery = made.pull()
    assert delivery is not None
    return admit(made.context, made.queue, delivery)


def test_two_jobs_get_a_gpu_each_and_the_third_one_waits_until_one_is_free(made: World) -> None:
    first, second = admitted(made, gpus=1), admitted(made, gpus=1)
    assert first is not None
    assert second is not None
    assert (first.reserved.gpus, second.reserved.gpus) == (("GPU-a",), ("GPU-c",))
    assert admitted(made, gpus=1) is None
    made.context.ledger.release_compute(first.id)
    assert made.context.ledger.free().gpus == ("GPU-a",)


def test_a_job_without_gpus_leaves_them_alone(made: World) -> None:
    attempt = admitted(made)
    assert attempt is not None
    assert attempt.reserved.gpus == ()
    assert container_run(made.context, attempt).devices == NO_DEVICES
    assert "CUDA_VISIBLE_DEVICES" not in container_run(made.context, attempt).env


def test_what_is_granted_is_what_the_container_gets_whatever_the_job_sets(made: World) -> None:
    made.submit(requires={"cpus": 0.5, "gpus": 2}, env={"CUDA_VISIBLE_DEVICES": "7", "SEED": "1"})
    delivery = made.pull()
    assert delivery is not None
    attempt = admit(made.context, made.queue, delivery)
    assert attempt is not None
    run = container_run(made.context, attempt)
    assert run.devices.nodes == ("/dev/GPU-a", "/dev/GPU-c")
    assert (run.env["CUDA_VISIBLE_DEVICES"], run.env["SEED"]) == ("GPU-a,GPU-c", "1")
    assert environment(run)["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-c"


def test_a_grant_of_an_earlier_agent_is_never_run_without_its_gpu(made: World) -> None:
    attempt = admitted(made, gpus=1)
    assert attempt is not None
    made.change(gpus=None)
    with pytest.raises(HostFault, match=r"GPU GPU-a was granted, and this agent gives none; see \[resources\] gpus"):
        container_run(made.context, attempt)


def test_the_gpu_of_a_job_that_runs_on_is_granted_to_nobody_else_after_a_restart(made: World) -> None:
    made.submit("sleep 60", requires={"cpus": 0.5, "gpus": 1})
    delivery = made.pull()
    assert delivery is not None
    attempt = admit(made.context, made.queue, delivery)
    assert attempt is not None
    running = stage_and_launch(made.context, attempt)
    made.restart(follow_up=False)
    assert made.context.ledger.free().gpus == ("GPU-c",)
    made.runtime.remove(running.id)
    made.runtime.close()
