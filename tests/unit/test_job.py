from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent.errors import JobError
from agent.model.job import Image, Job, parse_job

URI = "file:///srv/a.sif"
DIGEST = "a" * 64


def job_of(**table: Any) -> Job:
    return parse_job({"image": URI, **table})


def test_the_least_job_has_sensible_defaults() -> None:
    job = parse_job({"image": URI})
    assert (job.name, job.command, job.network, job.timeout, job.retries, job.grace) == (
        "job",
        None,
        "none",
        None,
        0,
        10,
    )
    assert (job.requires.cpus, job.requires.memory, job.requires.disk) == (1.0, 512 * 1024**2, 1024**3)
    assert (job.lane, job.architectures) == (("any", "none"), ())


def test_a_full_job_is_read() -> None:
    job = job_of(
        api="edge-agent/v1",
        id="run-1",
        command=["train", "--fast"],
        env={"SEED": "1"},
        secrets=["TOKEN"],
        workdir="sub/dir",
        requires={"cpus": 0.5, "memory": "1GiB", "where": ["a = 1", ["b = 1", "b = 2"]], "gpu_where": ["c >= 8.0"]},
        inputs=[{"uri": "s3://b/a", "path": "data/a", "sha256": DIGEST, "unpack": True}],
        outputs=[{"path": "out", "uri": "s3://b/o", "when": "success", "every": "1m"}],
        checkpoint={"path": "state", "every": "90s"},
        timeout="1h30m",
        retry_on=[1, 75],
    )
    assert (job.command, job.timeout, job.requires.memory) == (("train", "--fast"), 5400.0, 1024**3)
    assert job.requires.where == ("a = 1", ("b = 1", "b = 2"))
    assert job.checkpoint is not None
    assert job.checkpoint.every == 90.0


def test_a_job_survives_the_wire() -> None:
    job = job_of(requires={"memory": "1GiB"}, timeout="1m", outputs=[{"path": "o", "every": 3}])
    assert parse_job(msgspec.json.decode(msgspec.json.encode(job))) == job


@pytest.mark.parametrize(
    ("image", "arch", "found"),
    [
        (URI, "arm64", Image(URI)),
        ("file:///{arch}/a.sif", "arm64", Image("file:///arm64/a.sif")),
        ({"uri": URI, "sha256": DIGEST}, "amd64", Image(URI, DIGEST)),
        ({"amd64": URI}, "amd64", Image(URI)),
        ({"amd64": URI}, "arm64", None),
        ({"arm64": {"uri": "file:///{arch}.sif", "sha256": DIGEST}}, "arm64", Image("file:///arm64.sif", DIGEST)),
    ],
)
def test_every_form_of_image_says_what_runs_on_an_architecture(image: object, arch: str, found: Image | None) -> None:
    assert parse_job({"image": image}).image_for(arch) == found


@pytest.mark.parametrize(
    ("table", "lane"),
    [
        ({}, ("any", "none")),
        ({"requires": {"arch": ["arm64"]}}, ("arm64", "none")),
        ({"requires": {"arch": ["arm64", "amd64"]}}, ("any", "none")),
        ({"requires": {"gpus": 1}}, ("any", "nvidia")),
        ({"requires": {"gpus": 1, "accel": "jetson"}}, ("any", "jetson")),
        ({"image": {"amd64": URI}}, ("amd64", "none")),
        ({"image": {"amd64": URI, "arm64": URI}}, ("any", "none")),
        ({"image": {"amd64": URI, "arm64": URI}, "requires": {"arch": ["arm64", "arm"]}}, ("arm64", "none")),
    ],
)
def test_a_job_has_one_lane(table: dict[str, Any], lane: tuple[str, str]) -> None:
    assert job_of(**table).lane == lane


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"api": "edge-agent/v2"}, 'api = "edge-agent/v2" is not understood (this agent speaks "edge-agent/v1")'),
    ({"comand": ["x"]}, 'unknown key "comand" (did you mean "command"?)'),
    ({"requires": {"memroy": 1}}, 'unknown key "requires.memroy" (did you mean "memory"?)'),
    ({"command": "echo hi"}, "command = 'echo hi': Expected array | null, got str"),
    ({"command": []}, "command = []: an empty command"),
    ({"command": ["a\0b"]}, "command: a word with a NUL byte"),
    ({"id": "a b"}, 'id = "a b"'),
    ({"id": "../x"}, 'id = "../x"'),
    ({"id": "x" * 101}, "at most 100"),
    ({"env": {"1A": "x"}}, 'env: "1A" is not a name'),
    ({"env": {"A B": "x"}}, 'env: "A B" is not a name'),
    ({"env": {"A": "x\0"}}, "env.A: a value with a NUL byte"),
    ({"env": {"A": 1}}, "env.A = 1: Expected str"),
    ({"requires": {"arch": ["x86_64"]}}, 'requires.arch: "x86_64" is unknown (known: amd64, '),
    ({"requires": {"cpus": 0}}, "requires.cpus = 0"),
    ({"requires": {"cpus": -1}}, "requires.cpus = -1"),
    ({"requires": {"cpus": float("inf")}}, "requires.cpus = inf: not a number of cores"),
    ({"requires": {"cpus": float("nan")}}, "requires.cpus = nan"),
    ({"requires": {"memory": "lots"}}, 'requires.memory: "lots" is not a size'),
    ({"requires": {"gpus": -1}}, "requires.gpus = -1"),
    ({"requires": {"accel": "tpu"}}, "requires.accel = 'tpu'"),
    ({"requires": {"where": ["nonsense"]}}, 'constraint "nonsense"'),
    ({"requires": {"where": [["a = 1", "nonsense"]]}}, 'constraint "nonsense"'),
    ({"requires": {"gpu_where": ["a ~ 1"]}}, 'constraint "a ~ 1"'),
    ({"image": "a.sif"}, 'image = "a.sif": not a URI (such as "file:///srv/images/a.sif")'),
    ({"image": ""}, 'image = "": not a URI'),
    ({"image": {}}, "image: an empty table"),
    ({"image": {"x86": URI}}, "image: x86 (architectures: amd64, "),
    ({"image": {"amd64": {"sha256": DIGEST}}}, "image.amd64: no uri"),
    ({"image": {"amd64": {"uri": URI, "sha": DIGEST}}}, "image.amd64: sha"),
    ({"image": {"uri": URI, "sha256": "abc"}}, 'image.sha256 = "abc": not a SHA-256'),
    ({"image": {"uri": URI, "sha256": "A" * 64}}, "64 lower-case hexadecimal digits"),
    ({"image": {"amd64": "a.sif"}}, 'image = "a.sif": not a URI'),
    ({"inputs": [{"uri": "x:a", "path": "/etc/passwd"}]}, 'inputs[0].path = "/etc/passwd"'),
    ({"inputs": [{"uri": "x:a", "path": "../a"}]}, 'inputs[0].path = "../a"'),
    ({"inputs": [{"uri": "x:a", "path": "."}]}, 'inputs[0].path = "."'),
    ({"inputs": [{"uri": "x:a", "path": ""}]}, 'inputs[0].path = ""'),
    ({"inputs": [{"uri": "x:a", "path": "a\nb"}]}, "inputs[0].path"),
    ({"inputs": [{"uri": "x:a", "path": "a", "sha256": "0"}]}, "inputs[0].sha256"),
    ({"inputs": [{"path": "a"}]}, "inputs[0]: missing required field uri"),
    ({"outputs": [{"path": "a/../../b"}]}, 'outputs[0].path = "a/../../b"'),
    ({"outputs": [{"path": "a"}, {"path": "a"}]}, "outputs: the same path twice"),
    ({"outputs": [{"path": "a", "when": "never"}]}, "outputs[0].when = 'never'"),
    ({"checkpoint": {"path": "/x"}}, 'checkpoint.path = "/x"'),
    ({"workdir": "/work"}, 'workdir = "/work"'),
    ({"network": "bridge"}, "network = 'bridge'"),
    ({"timeout": "soon"}, 'timeout: "soon" is not a duration'),
    ({"timeout": -1}, "timeout = -1"),
    ({"retries": -1}, "retries = -1"),
    ({"retries": "3"}, "retries = '3'"),
]


@pytest.mark.parametrize(("table", "message"), WRONG, ids=lambda each: str(each)[:40])
def test_what_is_wrong_is_named_with_key_and_value(table: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError) as caught:
        job_of(**table)
    assert message in str(caught.value)


def test_a_job_without_an_image_says_so() -> None:
    with pytest.raises(JobError, match="missing required field image"):
        parse_job({})


@pytest.mark.parametrize("path", ["a", "a/b", "./a", "a b", ".hidden", "a..b", "-rf", "nä"])
def test_paths_below_the_jobs_directory_are_fine(path: str) -> None:
    assert job_of(outputs=[{"path": path}]).outputs[0].path == path
