from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent.explain import explain, summary
from agent.matching import MatchPolicy, examine, match
from agent.model.capabilities import Capabilities, CpuFacts, Gpu, RuntimeFacts
from agent.model.job import parse_job
from agent.model.share import Share
from agent.model.verdict import Reason, Standing, Verdict
from agent.ports import ImageFacts

HOST = Capabilities(runtime=RuntimeFacts(name="apptainer", version="1.4.5", archs=("amd64",)), labels={"site": "a"})
SHARE = Share(2.0, 1024**3, 10 * 1024**3)
POLICY = MatchPolicy(image_prefixes=("file:///",))
IMAGES = {"amd64": ImageFacts("amd64", 1)}
JOB = parse_job({"image": "file:///a.sif", "requires": {"cpus": 4, "memory": "512MiB", "labels": {"site": "a"}}})


def test_every_requirement_is_a_row_and_what_is_not_met_comes_first() -> None:
    rows = explain(examine(JOB, HOST, SHARE, SHARE, IMAGES, POLICY))
    assert [row.reason for row in rows if not row.ok] == ["cpus"]
    assert not rows[0].ok
    assert {"runtime", "architecture", "memory", "disk", "label"} <= {row.reason for row in rows if row.ok}


def test_a_row_says_what_is_asked_what_is_there_and_what_would_help() -> None:
    first = explain(examine(JOB, HOST, SHARE, SHARE, IMAGES, POLICY))[0]
    assert first.requirement == "4 CPUs"
    assert first.host_has == "2 CPUs in the agent's share"
    assert "[resources] cpus" in first.remedy


def test_rows_that_are_met_need_no_remedy() -> None:
    rows = explain(examine(JOB, HOST, SHARE, SHARE, IMAGES, POLICY))
    assert all(row.ok != bool(row.remedy) for row in rows)


GPU = Gpu(vendor="nvidia", name="A", compute_capability="6.1", usable=True, units=("GPU-1",))
LOST = Gpu(vendor="nvidia", name="B", usable=False, reason="gpu-lost")
WITH_GPU = msgspec.structs.replace(HOST, gpus=(GPU, LOST), cpu=CpuFacts(level="v2"))
GPU_SHARE = msgspec.structs.replace(SHARE, gpus=("GPU-1",))
REFUSALS: tuple[tuple[Reason, dict[str, Any], Capabilities, str, str], ...] = (
    (Reason.RUNTIME, {}, msgspec.structs.replace(HOST, runtime=RuntimeFacts()), "a container runtime", "none"),
    (Reason.ARCHITECTURE, {"requires": {"arch": ["riscv64"]}}, HOST, "riscv64", "amd64"),
    (Reason.IMAGE_SOURCE, {"image": "https://example.org/a.sif"}, HOST, "https://example.org/a.sif", "not allowed"),
    (Reason.CPUS, {"requires": {"cpus": 4}}, HOST, "4 CPUs", "2 CPUs"),
    (Reason.MEMORY, {"requires": {"memory": "2GiB"}}, HOST, "2 GiB of memory", "1 GiB"),
    (Reason.DISK, {"requires": {"disk": "20GiB"}}, HOST, "20 GiB of disk", "10 GiB"),
    (Reason.LABEL, {"requires": {"labels": {"site": "b"}}}, HOST, "label site = b", "a"),
    (Reason.CONSTRAINT, {"requires": {"where": ["cpu.level >= v3"]}}, WITH_GPU, "cpu.level >= v3", "cpu.level is v2"),
    (Reason.CONSTRAINT, {"requires": {"where": ["jetson.l4t >= 36"]}}, HOST, "jetson.l4t >= 36", "unknown"),
    (
        Reason.CONSTRAINT,
        {"requires": {"gpus": 1, "gpu_where": ["compute_capability >= 8.0"]}},
        WITH_GPU,
        "compute_capability >= 8.0",
        "0 of 1 units",
    ),
    (Reason.GPUS, {"requires": {"gpus": 2}}, WITH_GPU, "2 GPU units", "others are gpu-lost"),
    (Reason.ACCELERATOR, {"requires": {"accel": "jetson"}}, HOST, "a Jetson", "none"),
    (Reason.ACCELERATOR, {"requires": {"gpus": 1}}, HOST, "an NVIDIA GPU", "none"),
    (Reason.SECRET, {"secrets": ["token"]}, HOST, "secret token", "not offered"),
    (Reason.NETWORK, {"network": "host"}, HOST, "the host's network", "not allowed"),
    (Reason.INPUT_SOURCE, {"inputs": [{"uri": "s3://b/k", "path": "a"}]}, HOST, "s3://b/k", "not allowed"),
    (Reason.OUTPUT_TARGET, {"outputs": [{"uri": "s3://b/k", "path": "a"}]}, HOST, "s3://b/k", "not allowed"),
    (Reason.TIMEOUT, {"timeout": "2h"}, HOST, "2h", "at most 1h"),
)


@pytest.mark.parametrize(("reason", "fields", "host", "required", "found"), REFUSALS)
def test_every_refusal_names_requirement_what_the_host_has_and_the_remedy(
    reason: Reason, fields: dict[str, Any], host: Capabilities, required: str, found: str
) -> None:
    job = parse_job({"image": "file:///a.sif", "timeout": "30m", **fields})
    policy = msgspec.structs.replace(POLICY, max_timeout=3600.0)
    rows = [row for row in explain(examine(job, host, GPU_SHARE, GPU_SHARE, IMAGES, policy)) if not row.ok]
    (row,) = [row for row in rows if row.reason == reason.value]
    assert required in row.requirement
    assert found in row.host_has
    assert row.remedy


@pytest.mark.parametrize(
    ("reason", "image", "found"),
    [
        (Reason.IMAGE_MISSING, None, "no such image"),
        (Reason.IMAGE_UNUSABLE, ImageFacts(None, 1, "it is no SIF file"), "it is no SIF file"),
        (Reason.ARCHITECTURE, ImageFacts("arm64", 1), "amd64"),
    ],
)
def test_every_refusal_of_an_image_names_it_and_the_remedy(
    reason: Reason, image: ImageFacts | None, found: str
) -> None:
    job = parse_job({"image": "file:///a.sif"})
    rows = explain(examine(job, HOST, SHARE, SHARE, {"amd64": image}, POLICY))
    (row,) = [row for row in rows if not row.ok]
    assert (row.reason, found in row.host_has, bool(row.remedy)) == (reason.value, True, True)
    assert "file:///a.sif" in row.requirement


def test_no_reason_is_left_out_above() -> None:
    images = {Reason.IMAGE_MISSING, Reason.IMAGE_UNUSABLE}
    assert {reason for reason, *_ in REFUSALS} | images == set(Reason)


def test_the_verdict_in_one_sentence() -> None:
    assert summary(match(JOB, HOST, SHARE, SHARE, IMAGES, POLICY)) == "The job cannot run on this host as it is."
    assert summary(Verdict(Standing.REFUSED_NOW)).startswith("The job fits this host")
    assert summary(Verdict(Standing.ACCEPTED, arch="amd64")) == "The job can start here now, on amd64."
    assert summary(Verdict(Standing.ACCEPTED, arch="arm64", emulated=True)).endswith("emulating arm64.")
