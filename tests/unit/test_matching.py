from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest
from agent.matching import Images, MatchPolicy, candidate_archs, examine, is_below, match, need, usable_units
from agent.model.capabilities import Capabilities, CpuFacts, Gpu, JetsonFacts, MemoryFacts, RuntimeFacts
from agent.model.job import Job, parse_job
from agent.model.share import Share
from agent.model.verdict import Reason, Standing, Verdict
from agent.ports import ImageFacts

GIB = 1024**3
A = ImageFacts("amd64", 1000)
ARM = ImageFacts("arm64", 1000)
URI = "file:///srv/images/a.sif"

GPU = Gpu(vendor="nvidia", name="A", compute_capability="8.6", memory_bytes=24 * GIB, usable=True, units=("GPU-1",))
OLD_GPU = Gpu(vendor="nvidia", name="B", compute_capability="6.1", memory_bytes=8 * GIB, usable=True, units=("GPU-2",))
LOST_GPU = Gpu(vendor="nvidia", name="C", usable=False, reason="gpu-lost", units=("GPU-3",))

HOST = Capabilities(
    cpu=CpuFacts(arch="amd64", online=8, effective=8.0, features=("avx2", "fma")),
    memory=MemoryFacts(total_bytes=16 * GIB, effective_bytes=16 * GIB),
    runtime=RuntimeFacts(name="apptainer", version="1.4.5", archs=("amd64", "386"), emulated=("arm64", "riscv64")),
    labels={"site": "lab"},
)
SHARE = Share(8.0, 15 * GIB, 100 * GIB)
ALLOW = MatchPolicy(image_prefixes=("file:///",))


def job_of(image: object = URI, requires: dict[str, object] | None = None, **fields: Any) -> Job:
    return parse_job({"image": image, "requires": requires or {}, **fields})


def verdict_of(
    job: Job,
    host: Capabilities = HOST,
    share: Share = SHARE,
    free: Share | None = None,
    images: Images | None = None,
    policy: MatchPolicy = ALLOW,
) -> Verdict:
    return match(job, host, share, share if free is None else free, {"amd64": A} if images is None else images, policy)


def reasons(verdict: Verdict) -> list[Reason]:
    return [refusal.reason for refusal in verdict.refusals]


def test_a_job_that_fits_is_accepted_with_the_architecture_to_run() -> None:
    verdict = verdict_of(job_of())
    assert verdict == Verdict(Standing.ACCEPTED, (), "amd64", False)


@pytest.mark.parametrize(
    ("requires", "fields", "reason"),
    [
        ({"cpus": 9}, {}, Reason.CPUS),
        ({"memory": "16GiB"}, {}, Reason.MEMORY),
        ({"disk": "1TiB"}, {}, Reason.DISK),
        ({"gpus": 1, "accel": "none"}, {}, Reason.GPUS),
        ({"accel": "nvidia"}, {}, Reason.ACCELERATOR),
        ({"accel": "jetson"}, {}, Reason.ACCELERATOR),
        ({"arch": ["s390x"]}, {}, Reason.ARCHITECTURE),
        ({"labels": {"site": "roof"}}, {}, Reason.LABEL),
        ({"labels": {"floor": "2"}}, {}, Reason.LABEL),
        ({"where": ["cpu.features contains sve"]}, {}, Reason.CONSTRAINT),
        ({"where": ["jetson.l4t >= 36"]}, {}, Reason.CONSTRAINT),
        ({}, {"secrets": ["TOKEN"]}, Reason.SECRET),
        ({}, {"network": "host"}, Reason.NETWORK),
        ({}, {"inputs": [{"uri": "file:///etc/shadow", "path": "x"}]}, Reason.INPUT_SOURCE),
        ({}, {"outputs": [{"path": "x", "uri": "file:///etc/cron.d/x"}]}, Reason.OUTPUT_TARGET),
    ],
)
def test_every_requirement_that_never_fits_is_refused_here(
    requires: dict[str, object], fields: dict[str, Any], reason: Reason
) -> None:
    verdict = verdict_of(job_of(URI, requires, **fields))
    assert verdict.standing is Standing.REFUSED_HERE
    assert reasons(verdict) == [reason]
    assert all(refusal.required and refusal.found and refusal.remedy for refusal in verdict.refusals)


@pytest.mark.parametrize(("limits", "standing"), [("exact", "accepted"), ("best-effort", None), (None, None)])
def test_a_job_may_demand_that_limits_are_exact(limits: Any, standing: str | None) -> None:
    host = msgspec.structs.replace(HOST, runtime=msgspec.structs.replace(HOST.runtime, limits=limits))
    verdict = verdict_of(job_of(URI, {"where": ["runtime.limits = exact"]}), host)
    assert (verdict.standing is Standing.ACCEPTED) is (standing is not None)
    assert reasons(verdict) == ([] if standing else [Reason.CONSTRAINT])


@pytest.mark.parametrize(
    ("free", "reason"),
    [
        (Share(0.5, 15 * GIB, 100 * GIB), Reason.CPUS),
        (Share(8, 1000, 100 * GIB), Reason.MEMORY),
        (Share(8, 15 * GIB, -5), Reason.DISK),
    ],
)
def test_what_would_fit_the_empty_host_is_refused_for_now(free: Share, reason: Reason) -> None:
    verdict = verdict_of(job_of(), free=free)
    assert verdict.standing is Standing.REFUSED_NOW
    assert reasons(verdict) == [reason]


def test_all_reasons_are_told_and_one_that_lasts_decides() -> None:
    job = job_of(URI, {"cpus": 4, "memory": "64GiB", "labels": {"site": "roof"}}, network="host")
    verdict = verdict_of(job, free=Share(1, 15 * GIB, 100 * GIB))
    assert verdict.standing is Standing.REFUSED_HERE
    assert reasons(verdict) == [Reason.CPUS, Reason.MEMORY, Reason.LABEL, Reason.NETWORK]


def test_exactly_what_there_is_fits() -> None:
    share = Share(2, GIB, GIB)
    assert verdict_of(job_of(URI, {"cpus": 2, "memory": GIB, "disk": GIB}), share=share).accepted


def test_policy_grants_what_it_names() -> None:
    job = job_of(
        secrets=["TOKEN"],
        network="host",
        timeout="5m",
        inputs=[{"uri": "file:///data/in/a", "path": "a"}],
        outputs=[{"path": "o", "uri": "file:///data/out/o"}, {"path": "p"}],
    )
    policy = msgspec.structs.replace(
        ALLOW,
        secrets=frozenset({"TOKEN"}),
        network_host=True,
        max_timeout=300.0,
        input_prefixes=("file:///data/in",),
        output_prefixes=("file:///data/out/",),
    )
    assert verdict_of(job, policy=policy).accepted


@pytest.mark.parametrize("timeout", [{"timeout": "301s"}, {}])
def test_more_time_than_the_operator_grants_is_refused(timeout: dict[str, Any]) -> None:
    policy = msgspec.structs.replace(ALLOW, max_timeout=300.0)
    assert reasons(verdict_of(job_of(**timeout), policy=policy)) == [Reason.TIMEOUT]


@pytest.mark.parametrize(
    ("limit", "requires", "reason"),
    [
        ({"max_cpus": 2.0}, {"cpus": 2.5}, Reason.CPUS),
        ({"max_memory": GIB}, {"memory": GIB + 1}, Reason.MEMORY),
        ({"max_disk": GIB}, {"disk": GIB + 1}, Reason.DISK),
        ({"max_gpus": 0}, {"gpus": 1}, Reason.GPUS),
    ],
)
def test_more_than_one_job_may_have_is_refused_with_the_rule(
    limit: dict[str, Any], requires: dict[str, object], reason: Reason
) -> None:
    (key,) = limit
    host = msgspec.structs.replace(HOST, gpus=(GPU,))
    share = Share(8.0, 15 * GIB, 100 * GIB, GPU.units)
    job = job_of(requires={"cpus": 1, "memory": GIB, "disk": GIB, **requires})
    verdict = verdict_of(job, host, share, policy=msgspec.structs.replace(ALLOW, **limit))
    assert verdict.standing is Standing.REFUSED_HERE
    (refusal,) = verdict.refusals
    assert refusal.reason is reason
    assert "a job" in refusal.found
    assert refusal.remedy == f"ask for less, or raise [policy] {key}"
    just = msgspec.structs.replace(ALLOW, max_cpus=2.5, max_memory=GIB + 1, max_disk=GIB + 1, max_gpus=1)
    assert verdict_of(job, host, share, policy=just).accepted


def test_nothing_is_allowed_by_default() -> None:
    assert reasons(verdict_of(job_of(), policy=MatchPolicy())) == [Reason.IMAGE_SOURCE]


# --- images and architectures ---------------------------------------------------------------------------------------

EMULATE = msgspec.structs.replace(ALLOW, emulate=("arm64", "s390x"))


def test_candidates_are_native_then_compatible_then_emulated() -> None:
    assert candidate_archs(job_of(), HOST, EMULATE) == ("amd64", "386", "arm64")


def test_candidates_have_an_image_and_are_allowed_by_the_job() -> None:
    table = {"arm64": URI, "386": URI, "s390x": URI}
    assert candidate_archs(job_of(table), HOST, EMULATE) == ("386", "arm64")
    assert candidate_archs(job_of(table, {"arch": ["arm64"]}), HOST, EMULATE) == ("arm64",)
    assert candidate_archs(job_of(URI, {"arch": ["386"]}), HOST, EMULATE) == ("386",)


def test_an_image_that_policy_does_not_allow_is_not_looked_at() -> None:
    table = {"amd64": "file:///home/x.sif", "386": URI}
    policy = MatchPolicy(image_prefixes=("file:///srv",))
    assert candidate_archs(job_of(table), HOST, policy) == ("386",)


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("file:///srv/images/a.sif", '[policy] image_prefixes = ["file:///srv/images/"]'),
        ("file:///a.sif", '[policy] image_prefixes = ["file:///a.sif"]'),
        ("s3://lab/a/b.sif?x=1", '[policy] image_prefixes = ["s3://lab/a/"]'),
        ("docker://alpine:3", '[policy] image_prefixes = ["docker://alpine:3"]'),
        ("docker://host:5000/lab/tools:1", '[policy] image_prefixes = ["docker://host:5000/lab/"]'),
        ("file:///srv/../etc/a.sif", "no prefix covers it as it is"),
        ('file:///srv/"/a.sif', "no prefix covers it as it is"),
    ],
)
def test_a_refused_image_names_the_line_that_would_allow_it(uri: str, remedy: str) -> None:
    policy = MatchPolicy(image_prefixes=("file:///var/images",), images_dir="/var/images")
    (refusal,) = verdict_of(job_of({"amd64": uri}), images={}, policy=policy).refusals
    assert refusal.reason is Reason.IMAGE_SOURCE
    assert refusal.remedy.endswith(remedy)
    assert refusal.remedy.startswith("copy it into /var/images/, or ") is ("= [" in remedy and "file:" in remedy)
    if "= [" in remedy:
        allowed = msgspec.structs.replace(policy, image_prefixes=(remedy.split('"')[1],))
        assert candidate_archs(job_of({"amd64": uri}), HOST, allowed) == ("amd64",)


def test_emulation_needs_the_operator_and_the_kernel() -> None:
    arm_only = job_of({"arm64": URI})
    refused = verdict_of(arm_only, images={})
    assert reasons(refused) == [Reason.ARCHITECTURE]
    assert 'emulate = ["arm64"]' in refused.refusals[0].remedy
    assert verdict_of(arm_only, images={"arm64": ARM}, policy=EMULATE) == Verdict(Standing.ACCEPTED, (), "arm64", True)
    assert reasons(verdict_of(job_of({"s390x": URI}), images={}, policy=EMULATE)) == [Reason.ARCHITECTURE]


def test_a_gpu_is_never_used_under_emulation() -> None:
    host = msgspec.structs.replace(HOST, gpus=(GPU,))
    share = msgspec.structs.replace(SHARE, gpus=("GPU-1",))
    job = job_of({"arm64": URI}, {"gpus": 1})
    verdict = verdict_of(job, host, share, images={"arm64": ARM}, policy=EMULATE)
    assert reasons(verdict) == [Reason.ARCHITECTURE]
    assert candidate_archs(job_of(URI, {"accel": "nvidia"}), host, EMULATE) == ("amd64", "386")


def test_native_is_preferred_to_emulated() -> None:
    job = job_of({"arm64": URI, "amd64": URI})
    assert verdict_of(job, images={"amd64": A, "arm64": ARM}, policy=EMULATE).arch == "amd64"


def test_a_broken_native_image_leaves_the_emulated_one() -> None:
    job = job_of({"arm64": URI, "amd64": URI})
    assert verdict_of(job, images={"amd64": None, "arm64": ARM}, policy=EMULATE).arch == "arm64"


def test_one_image_for_any_architecture_has_that_of_its_own() -> None:
    found = {arch: ImageFacts("386", 1) for arch in ("amd64", "386")}
    assert verdict_of(job_of(), images=found).arch == "386"


@pytest.mark.parametrize(
    ("image", "found", "reason"),
    [
        (URI, None, Reason.IMAGE_MISSING),
        (URI, ImageFacts(None, 5, "not a SIF file"), Reason.IMAGE_UNUSABLE),
        (URI, ARM, Reason.ARCHITECTURE),
        ({"amd64": URI}, ARM, Reason.IMAGE_UNUSABLE),
        ({"amd64": URI}, None, Reason.IMAGE_MISSING),
    ],
)
def test_images_that_do_not_do(image: object, found: ImageFacts | None, reason: Reason) -> None:
    verdict = verdict_of(job_of(image), images={"amd64": found, "386": found})
    assert verdict.standing is Standing.REFUSED_HERE
    assert reasons(verdict) == [reason]


def test_without_a_runtime_that_is_the_one_reason() -> None:
    host = msgspec.structs.replace(HOST, runtime=RuntimeFacts(emulated=("arm64",)))
    assert candidate_archs(job_of(), host, EMULATE) == ()
    assert reasons(verdict_of(job_of(), host, images={})) == [Reason.RUNTIME]


def test_an_image_on_which_a_job_has_rights_of_its_own_is_allowed_where_such_are() -> None:
    job = job_of("https://images.example.com/a.sif")
    policy = MatchPolicy(image_prefixes=("file:///srv",), brought_prefixes=("https://images.example.com",))
    assert candidate_archs(job, HOST, policy) == ()
    assert reasons(verdict_of(job, policy=policy)) == [Reason.IMAGE_SOURCE]
    assert verdict_of(job, policy=policy.with_rights_on(["https://images.example.com/a.sif"])).accepted
    assert not verdict_of(job, policy=policy.with_rights_on(["https://images.example.com/b.sif"])).accepted


def test_what_a_job_has_rights_of_its_own_on_is_refused_with_the_key_that_allows_such() -> None:
    uris = [f"s3+http://minio:9000/b/{name}" for name in ("a.sif", "in", "out")]
    job = job_of(uris[0], inputs=[{"uri": uris[1], "path": "in"}], outputs=[{"uri": uris[2], "path": "out"}])
    for policy, keys in ((ALLOW, {"image", "input", "output"}), (ALLOW.with_rights_on(uris), {"brought"})):
        remedies = [refusal.remedy for refusal in verdict_of(job, policy=policy).refusals]
        assert {remedy.partition("[policy] ")[2].partition("_prefixes = ")[0] for remedy in remedies} == keys


# --- Python environments in place of images -------------------------------------------------------------------------

TRUSTED = msgspec.structs.replace(ALLOW, image_prefixes=("file:///", "venv://"), emulate=("arm64",))
BARE_HOST = msgspec.structs.replace(HOST, runtime=RuntimeFacts())


@pytest.mark.parametrize("host", [HOST, BARE_HOST], ids=["with a runtime", "without one"])
def test_a_job_in_a_python_environment_needs_no_runtime(host: Capabilities) -> None:
    job = job_of("venv://python")
    assert candidate_archs(job, host, TRUSTED) == ("amd64",)
    assert verdict_of(job, host, policy=TRUSTED) == Verdict(Standing.ACCEPTED, (), "amd64", False)
    checks = examine(job, host, SHARE, SHARE, {"amd64": A}, TRUSTED)
    assert [(check.reason, check.found) for check in checks[:2]] == [
        (Reason.ARCHITECTURE, "amd64"),
        (Reason.IMAGE_UNUSABLE, "runs on amd64"),
    ]


@pytest.mark.parametrize("host", [HOST, BARE_HOST], ids=["with a runtime", "without one"])
def test_a_python_environment_has_to_be_allowed_by_its_own_switch(host: Capabilities) -> None:
    verdict = verdict_of(job_of("venv://python"), host)
    assert reasons(verdict) == [Reason.IMAGE_SOURCE]
    assert "[studioml] trusted = true" in verdict.refusals[0].remedy
    assert "without a container" in verdict.refusals[0].remedy


def test_a_python_environment_is_never_emulated() -> None:
    for image in ("venv://python", {"arm64": "venv://python"}):
        verdict = verdict_of(job_of(image, {"arch": ["arm64"]}), images={"arm64": ARM}, policy=TRUSTED)
        assert reasons(verdict) == [Reason.ARCHITECTURE]
    refused = verdict_of(job_of("venv://python", {"arch": ["arm64"]}), images={}).refusals[0]
    assert (refused.found, refused.remedy) == ("amd64", "submit to hosts that run it")


def test_a_python_that_is_not_here_is_told_with_hosts_that_have_it_as_the_remedy() -> None:
    problem = "no Python 3.9 on this host; install python3.9 or uv"
    verdict = verdict_of(
        job_of("venv://python"), BARE_HOST, images={"amd64": ImageFacts("amd64", 0, problem)}, policy=TRUSTED
    )
    assert reasons(verdict) == [Reason.IMAGE_UNUSABLE]
    assert (verdict.refusals[0].found, verdict.standing) == (problem, Standing.REFUSED_HERE)
    assert verdict.refusals[0].remedy == "submit to hosts that have what it needs"


def test_a_job_may_have_an_environment_on_one_architecture_and_an_image_on_another() -> None:
    job = job_of({"amd64": "venv://python", "arm64": URI})
    images = {"amd64": A, "arm64": ARM}
    assert verdict_of(job, BARE_HOST, images=images, policy=TRUSTED).arch == "amd64"
    arm_cpu = msgspec.structs.replace(HOST.cpu, arch="arm64")
    arm = msgspec.structs.replace(HOST, cpu=arm_cpu, runtime=RuntimeFacts(name="a", version="1", archs=("arm64",)))
    assert verdict_of(job, arm, images=images, policy=TRUSTED).arch == "arm64"
    bare = msgspec.structs.replace(BARE_HOST, cpu=arm_cpu)
    assert reasons(verdict_of(job, bare, images={}, policy=TRUSTED)) == [Reason.RUNTIME]


def test_a_host_of_unknown_architecture_makes_no_environment() -> None:
    host = msgspec.structs.replace(BARE_HOST, cpu=CpuFacts(effective=8.0))
    assert reasons(verdict_of(job_of("venv://python"), host, images={}, policy=TRUSTED)) == [Reason.ARCHITECTURE]


# --- GPUs -----------------------------------------------------------------------------------------------------------

GPU_HOST = msgspec.structs.replace(HOST, gpus=(GPU, OLD_GPU, LOST_GPU))
GPU_SHARE = msgspec.structs.replace(SHARE, gpus=("GPU-1", "GPU-2"))


@pytest.mark.parametrize(
    ("requires", "free", "expected"),
    [
        ({"gpus": 1}, ("GPU-1", "GPU-2"), []),
        ({"gpus": 2}, ("GPU-1", "GPU-2"), []),
        ({"gpus": 2}, ("GPU-2",), [Reason.GPUS]),
        ({"gpus": 3}, ("GPU-1", "GPU-2"), [Reason.GPUS]),
        ({"gpus": 1, "gpu_where": ["compute_capability >= 8.0"]}, ("GPU-1",), []),
        ({"gpus": 1, "gpu_where": ["compute_capability >= 8.0"]}, ("GPU-2",), [Reason.GPUS]),
        ({"gpus": 2, "gpu_where": ["memory_bytes >= 16GiB"]}, ("GPU-1", "GPU-2"), [Reason.CONSTRAINT]),
        ({"gpus": 1, "gpu_where": [["name = X", "name = B"]]}, ("GPU-2",), []),
    ],
)
def test_gpu_units(requires: dict[str, object], free: tuple[str, ...], expected: list[Reason]) -> None:
    left = msgspec.structs.replace(GPU_SHARE, gpus=free)
    assert reasons(verdict_of(job_of(URI, requires), GPU_HOST, GPU_SHARE, left)) == expected


def test_units_of_an_unusable_gpu_are_not_granted() -> None:
    assert usable_units(job_of(URI, {"gpus": 1}), GPU_HOST) == ("GPU-1", "GPU-2")


def test_gpus_outside_the_share_are_not_granted() -> None:
    share = msgspec.structs.replace(SHARE, gpus=("GPU-2",))
    assert reasons(verdict_of(job_of(URI, {"gpus": 2}), GPU_HOST, share)) == [Reason.GPUS]


def test_gpus_that_are_withdrawn_are_named_where_fewer_are_left_than_wanted() -> None:
    (refusal,) = verdict_of(job_of(URI, {"gpus": 3}), GPU_HOST, GPU_SHARE).refusals
    assert refusal.found == "2 in the agent's share, others are gpu-lost"
    assert "edge-agent probe" in refusal.remedy
    whole = msgspec.structs.replace(GPU_HOST, gpus=(GPU, OLD_GPU))
    (refusal,) = verdict_of(job_of(URI, {"gpus": 3}), whole, GPU_SHARE).refusals
    assert (refusal.found, refusal.remedy) == ("2 in the agent's share", "ask for fewer GPUs")


def test_a_lost_gpu_is_named_where_one_is_missed() -> None:
    host = msgspec.structs.replace(HOST, gpus=(LOST_GPU,))
    verdict = verdict_of(job_of(URI, {"accel": "nvidia"}), host)
    assert verdict.refusals[0].found == "gpu-lost"


def test_a_jetson_has_both_kinds_of_accelerator() -> None:
    host = msgspec.structs.replace(HOST, jetson=JetsonFacts(l4t="36.4.3"))
    share = msgspec.structs.replace(SHARE, gpus=("igpu0",))
    for accel in ("jetson", "nvidia", "none"):
        assert verdict_of(job_of(URI, {"accel": accel}), host, share).accepted


def test_an_accelerator_that_the_agent_does_not_give_out_is_refused() -> None:
    verdict = verdict_of(job_of(URI, {"accel": "nvidia"}), GPU_HOST)
    assert [(each.reason, each.found) for each in verdict.refusals] == [
        (Reason.ACCELERATOR, "none in the agent's share")
    ]


def test_constraints_that_hold_and_lists_that_mean_one_of() -> None:
    where = ["memory.total_bytes >= 16GiB", ["cpu.arch = arm64", "cpu.features contains fma"]]
    assert verdict_of(job_of(URI, {"where": where})).accepted


# --- URIs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "prefix", "allowed"),
    [
        ("file:///srv/in", "file:///srv/in", True),
        ("file:///srv/in/a/b", "file:///srv/in", True),
        ("file:///srv/in/a", "file:///srv/in/", True),
        ("file://localhost/srv/in/a", "file:///srv/in", True),
        ("FILE:///srv/in/a", "file:///srv/in", True),
        ("file:///srv/in%20put/a", "file:///srv/in%20put", True),
        ("file:///srv/%69n/a", "file:///srv/in", True),
        ("file:///anything", "file:///", True),
        ("s3://bucket/models/a", "s3://bucket/models", True),
        ("s3://bucket/a", "s3://", True),
        ("file:///srv/input", "file:///srv/in", False),
        ("file:///srv", "file:///srv/in", False),
        ("file:///srv/in/../secret", "file:///srv/in", False),
        ("file:///srv/in/..", "file:///srv/in", False),
        ("file:///srv/in/%2e%2E/secret", "file:///srv/in", False),
        ("file:///srv/in/.%2e/secret", "file:///srv/in", False),
        ("file:///srv/in/..%2fsecret", "file:///srv/in", False),
        ("file:///srv/in/a%00", "file:///srv/in", False),
        ("file:///srv/in\\..\\secret", "file:///srv/in", False),
        ("file:///srv/in/a\n", "file:///srv/in", False),
        ("file:///srv/in/a?b", "file:///srv/in", False),
        ("file://elsewhere/srv/in/a", "file:///srv/in", False),
        ("file:srv/in", "file:///", False),
        ("/srv/in/a", "file:///", False),
        ("s3://bucket-2/models/a", "s3://bucket", False),
        ("s3://user@bucket/models/a", "s3://bucket", False),
        ("https://host/a", "http://host", False),
        ("http://[broken/a", "http://", False),
    ],
)
def test_prefixes_are_whole_path_segments_of_plain_uris(uri: str, prefix: str, allowed: bool) -> None:
    assert is_below(uri, (prefix,)) is allowed


def test_no_prefix_allows_nothing() -> None:
    assert not is_below(URI, ())


# --- rules that hold for all jobs -----------------------------------------------------------------------------------


def random_case(dice: random.Random) -> tuple[Job, Share, Share]:
    requires: dict[str, object] = {
        "cpus": dice.choice([0.5, 1, 2, 8, 9]),
        "memory": dice.choice([GIB, 8 * GIB, 20 * GIB]),
        "gpus": dice.choice([0, 1, 2]),
        "labels": dice.choice([{}, {"site": "lab"}, {"site": "roof"}]),
    }
    job = job_of(dice.choice([URI, {"amd64": URI}, {"arm64": URI}]), requires, network=dice.choice(["none", "host"]))
    units = dice.choice([(), ("GPU-1",), ("GPU-1", "GPU-2")])
    share = Share(dice.choice([1.0, 8.0]), dice.choice([4 * GIB, 15 * GIB]), 100 * GIB, units)
    used = Share(dice.choice([0.0, 0.7]), dice.choice([0, 3 * GIB]), 0, dice.choice([(), units[:1]]))
    return job, share, share.minus(used)


@pytest.mark.parametrize("seed", range(200))
def test_verdicts_agree_with_what_is_asked_and_there(seed: int) -> None:
    job, share, free = random_case(random.Random(seed))
    verdict = verdict_of(job, GPU_HOST, share, free)
    empty = verdict_of(job, GPU_HOST, share)
    assert verdict.accepted == (not verdict.refusals)
    # What is free never decides what could run on the empty host.
    assert (verdict.standing is Standing.REFUSED_HERE) == (empty.standing is Standing.REFUSED_HERE)
    assert empty.standing is not Standing.REFUSED_NOW
    if verdict.accepted:
        units = tuple(itertools.islice((u for u in usable_units(job, GPU_HOST) if u in free.gpus), job.requires.gpus))
        assert free.covers(need(job, units))
        assert len(units) == job.requires.gpus
    # More never makes it worse.
    more = Share(share.cpus + 1, share.memory + GIB, share.disk, ("GPU-1", "GPU-2"))
    if empty.accepted:
        assert verdict_of(job, GPU_HOST, more).accepted


@pytest.mark.parametrize("seed", range(50))
def test_every_check_that_fails_is_a_refusal_and_no_other(seed: int) -> None:
    job, share, free = random_case(random.Random(seed))
    checks = examine(job, GPU_HOST, share, free, {"amd64": A}, ALLOW)
    failed = tuple(check.refusal for check in checks if check.standing is not Standing.ACCEPTED)
    assert failed == verdict_of(job, GPU_HOST, share, free).refusals
