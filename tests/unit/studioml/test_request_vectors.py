"""The job that each recorded message becomes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from agent.model.cargo import Access, Decoded
from agent.studioml.reading import Reading, Rules
from agent.studioml.request import decode, is_request

from tests.studioml_keys import VECTORS, RecordedKeys
from tests.unit.studioml.requests import body, origin

READING = Reading(queue="lab", keys=RecordedKeys())
UNSIGNED_TOO = Reading(queue="lab", keys=RecordedKeys(), rules=Rules(require_signature=False))
HOUR = 3600.0
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAEDGE",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_SECRET_ACCESS_KEY": "secretEDGE",
}
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "NVIDIA_VISIBLE_DEVICES": "-1"}
PLAIN = {**AWS, **NO_GPU, "STEPS": "3", "PYTHONUNBUFFERED": "TRUE"}
IN_VENV = {**PLAIN, "PATH": f"{STANDARD_PATH}:./bin"}
TWO_CORES = {"GOTO_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENMP": "True"}
SEED = {**AWS, **NO_GPU, **TWO_CORES, "PYTHONUNBUFFERED": "TRUE"}
SMALL = {"cpus": 1.0, "memory": 2_000_000_000, "disk": 3_000_000_000, "accel": "none"}
LARGER = {"cpus": 2.0, "memory": 3_000_000_000, "disk": 10_000_000_000, "accel": "none"}


def without_gpu_rule(env: dict[str, str]) -> dict[str, str]:
    """Variables of a job that gets GPUs: who starts it names them."""
    return {name: value for name, value in env.items() if name not in NO_GPU}


def one_card(requires: dict[str, Any]) -> dict[str, Any]:
    """The same amounts, and a card with 4 GB."""
    amounts = {name: value for name, value in requires.items() if name != "accel"}
    return {**amounts, "gpus": 1, "gpu_where": ("memory_bytes >= 4000000000",)}


def art(*tags: str, bucket: str = "studioml-artifacts", end: str = ".tar", packed: str = "none") -> list[str]:
    """Directories of results: fetched if they are there, uploaded again."""
    return [f"{tag} <> s3+http://HOST/{bucket}/experiments/KEY/{tag}{end} optional keys {packed}" for tag in tags]


def meta(bucket: str = "studioml-artifacts") -> str:
    return f"_metadata -- s3+http://HOST/{bucket}/experiments/KEY/_metadata.tar keys"


def blob(tag: str, digest: str, bucket: str = "studioml-artifacts", end: str = ".tar") -> str:
    return f"{tag} <- s3+http://HOST/{bucket}/blobstore/{digest}~{end} kept keys"


WORKSPACE = blob("workspace", "b4624983")
RESULTS = [*art("modeldir", "retval", "output", "tb", "_metrics"), meta()]
SEED_RESULTS = art("workspace", "modeldir", "output", "tb", "_metrics", bucket="karl-mutch")
LATER = [*art("modeldir", "output", "tb", "_metrics", bucket="karl-mutch"), meta("karl-mutch")]
EXTERNAL_UNPACKED = [
    "s3data <- s3+https://s3-us-west-2.amazonaws.com/ext/d/data.tar.gz keys",
    "gsdata <- gs://gbucket/d/x.tgz own",
]
EXTERNAL_FILES = [
    "s3data/data.tar.gz <- s3+https://s3-us-west-2.amazonaws.com/ext/d/data.tar.gz file keys",
    "gsdata/x.tgz <- gs://gbucket/d/x.tgz file own",
]
CSV = "csv/data.csv <- https://example.com/d/data.csv file anonymous"
LOCAL = "file:///home/lab/studio/store/art"

# What is not said is as in MOST.
MOST: dict[str, Any] = {
    "command": ("python", "train.py"),
    "image": "venv://python",
    "venv": ("3.11", 80, ("six",)),
    "env": IN_VENV,
    "requires": SMALL,
    "timeout": 96 * HOUR,
    "lifetime": 48 * HOUR,
    "every": 300.0,
    "labels": {},
    "database": "s3+http://HOST/studioml-meta/ keys",
    "metadata": "s3+http://HOST/studioml-artifacts/metadata/ keys",
    "sealed": False,
    "artifacts": [WORKSPACE, *RESULTS],
}
OF_SEED: dict[str, Any] = {
    "venv": ("3", 79, ()),
    "env": SEED,
    "requires": LARGER,
    "every": 60.0,
    "metadata": None,
    "artifacts": SEED_RESULTS,
}
OF_0_0_14 = {"env": SEED, "requires": LARGER, "every": 60.0, "metadata": "s3+http://HOST/karl-mutch/metadata/ keys"}
SHELL_WORDS = ("a b", "it's", "$HOME")

EXPECTED: dict[str, dict[str, Any]] = {
    "01_plain": {
        "added": 1_795_347_112,
        "command": ("python", "train.py", "10", "--lr=0.1", *SHELL_WORDS, "*.csv"),
        "timeout": 1200.0,
        "lifetime": 96.5 * HOUR,
        "labels": {"project": "edge"},
    },
    "01_plain_seed_v0.0.11": {
        "added": 1_795_347_114,
        **OF_SEED,
        "command": ("python", "train.py", "10", "--lr=0.1", *SHELL_WORDS),
        "timeout": 1200.0,
        "lifetime": 96.5 * HOUR,
    },
    "01_module": {"added": 1_795_347_118, "command": ("python", "-m", "pkg.mod", "1")},
    "01_artifacts": {
        "added": 1_795_347_163,
        "artifacts": [
            WORKSPACE,
            *RESULTS,
            *art("weights"),
            blob("data", "07260ea0"),
            blob("single", "ef81ec12"),
            "csv/data.csv <- http://HOST/ext/d/data.csv file anonymous",
        ],
    },
    "01_artifacts_ext_seed_v0.0.11": {
        "added": 1_795_347_174,
        **OF_SEED,
        "artifacts": [
            *SEED_RESULTS,
            *art("weights", bucket="karl-mutch"),
            *EXTERNAL_UNPACKED,
            CSV,
            blob("single", "ae9cb2b4", "karl-mutch"),
        ],
    },
    "01_artifacts_ext_0.0.14": {
        "added": 1_795_347_176,
        **OF_0_0_14,
        "command": ("python", "train.py", "1", "a b"),
        "venv": ("3.11", 80, ()),
        "artifacts": [
            blob("workspace", "037fc6a8", "karl-mutch"),
            *LATER,
            *EXTERNAL_FILES,
            CSV,
            blob("single", "ae9cb2b4", "karl-mutch"),
        ],
    },
    "01_storage_local": {
        "added": 1_795_347_658,
        "command": ("python", "train.py", "10"),
        "database": None,
        "metadata": f"{LOCAL}/metadata/ own",
        "artifacts": [
            f"workspace <- {LOCAL}/blobstore/b4624983~.tar kept own",
            *(
                f"{tag} <> {LOCAL}/experiments/KEY/{tag}.tar optional own none"
                for tag in ("modeldir", "retval", "output", "tb", "_metrics")
            ),
            f"_metadata -- {LOCAL}/experiments/KEY/_metadata.tar own",
        ],
    },
    "01_compression_gzip": {
        "added": 1_795_347_914,
        "artifacts": [
            blob("workspace", "b4624983", end=".tar.gz"),
            *RESULTS,
            blob("single", "ef81ec12", end=".tar.gz"),
        ],
    },
    "01_compression_bzip2_v0.0.11": {
        "added": 1_795_347_917,
        **OF_SEED,
        "artifacts": [
            *art(
                *("workspace", "modeldir", "output", "tb", "_metrics"),
                bucket="karl-mutch",
                end=".tar.bz2",
                packed="bzip2",
            ),
            blob("single", "90526f0a", "karl-mutch", ".tar.bz2"),
        ],
    },
    "02_singularity_dockerhub_script_0.0.14": {
        "added": 1_795_347_184,
        **OF_0_0_14,
        "command": ("python3", "train.py", "10"),
        "image": "docker://tensorflow/tensorflow:1.9.0-py3",
        "venv": None,
        "env": without_gpu_rule(SEED),
        "requires": one_card(LARGER),
        "artifacts": [
            blob("workspace", "037fc6a8", "karl-mutch"),
            *LATER,
            "_singularity -- docker://tensorflow/tensorflow:1.9.0-py3 own",
        ],
    },
    "02_singularity_dockerhub_script_v0.0.11": {
        "added": 1_795_347_179,
        **OF_SEED,
        "command": ("python3", "train.py", "10"),
        "image": "docker://tensorflow/tensorflow:1.4.0-gpu-py3",
        "venv": None,
        "artifacts": [*SEED_RESULTS, "_singularity -- docker://tensorflow/tensorflow:1.4.0-gpu-py3 own"],
    },
    "02_singularity_localfile": {
        "added": 1_795_347_189,
        "command": ("python3", "train.py", "10"),
        "image": "s3+http://HOST/studioml-artifacts/blobstore/7ef1296a~.tar",
        "venv": None,
        "env": PLAIN,
        "artifacts": [
            WORKSPACE,
            *RESULTS,
            "_singularity -- s3+http://HOST/studioml-artifacts/blobstore/7ef1296a~.tar keys",
        ],
    },
    "02_singularity_localfile_run": {
        "added": 1_795_347_192,
        "command": None,
        "image": "s3+http://HOST/studioml-artifacts/blobstore/7ef1296a~.tar",
        "venv": None,
        "env": PLAIN,
        "artifacts": [
            WORKSPACE,
            *RESULTS,
            "_singularity -- s3+http://HOST/studioml-artifacts/blobstore/7ef1296a~.tar keys",
        ],
    },
    "03_gpu_config": {
        "added": 1_795_347_124,
        "env": {
            **without_gpu_rule(IN_VENV),
            "GOTO_NUM_THREADS": "3",
            "MKL_NUM_THREADS": "3",
            "OMP_NUM_THREADS": "3",
            "OPENMP": "True",
        },
        "requires": {
            "cpus": 4.0,
            "memory": 4_000_000_000,
            "disk": 60_000_000_000,
            "gpus": 1,
            "gpu_where": ("memory_bytes >= 8000000000",),
        },
    },
    "04_encrypted_0.0.22": {
        "added": 1_795_347_201,
        **OF_0_0_14,
        "command": ("python", "train.py", "10"),
        "venv": ("3.11", 80, ()),
        "timeout": 1200.0,
        "sealed": True,
        "artifacts": [blob("workspace", "037fc6a8", "karl-mutch"), *LATER],
    },
    "05_encrypted_signed": {
        "added": 1_795_347_257,
        "command": ("python", "train.py", "10"),
        "env": without_gpu_rule(IN_VENV),
        "requires": one_card(SMALL),
        "timeout": 1200.0,
        "lifetime": 96 * HOUR,
        "sealed": True,
    },
    "06_completion_service_0.0.14": {
        "added": 1_795_347_328,
        **OF_0_0_14,
        "command": ("python", "completion_service_client.py", "error"),
        "venv": ("3.11", 80, ()),
        "labels": {"project": "completion_service_edgecs"},
        "env": {**AWS, "PYTHONUNBUFFERED": "TRUE"},
        "requires": one_card(SMALL),
        "artifacts": [
            blob("workspace", "45900069", "karl-mutch"),
            *LATER,
            *art("retval", bucket="karl-mutch"),
            blob("clientscript", "101b1c70", "karl-mutch"),
            blob("args", "1d4fef46", "karl-mutch"),
            blob("single", "ae9cb2b4", "karl-mutch"),
            "csv/data.csv <- http://HOST/ext/d/data.csv file anonymous",
        ],
    },
}


def short(text: str, key: str) -> str:
    """Return a URI as the table has it."""
    text = text.replace("127.0.0.1:5185", "HOST").replace(key, "KEY")
    return re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1~", text)


def rights(decoded: Decoded, uri: str) -> str:
    known = {
        None: "own",
        Access(): "anonymous",
        Access(access_key="AKIAEDGE", secret_key="secretEDGE", region="us-west-2"): "keys",
    }
    return known[decoded.cargo.access.get(uri)]


def with_rights(decoded: Decoded, uri: str | None, key: str) -> str | None:
    return None if uri is None else f"{short(uri, key)} {rights(decoded, uri)}"


def lines(decoded: Decoded, key: str, home: str) -> list[str]:
    """Return one line for each artifact: where in the job, fetched or uploaded or both, from where, and how."""
    job, cargo = decoded.job, decoded.cargo
    inputs = {item.uri: item for item in job.inputs}
    outputs = {item.uri: item for item in job.outputs}
    found = []
    for tag, artifact in origin(cargo).artifacts.items():
        uri = artifact.uri
        assert uri is not None
        item, output = inputs.pop(uri, None), outputs.pop(uri, None)
        path = item.path.removeprefix(f"{home}/") if item else tag
        if output:
            assert output.path == f"{home}/{tag}"
        words = [path, ("<" if item else "-") + (">" if output else "-"), short(uri, key)]
        words += ["optional"] if item and item.path in cargo.optional else []
        words += ["kept"] if item and item.path in cargo.kept else []
        words += ["file"] if item and not item.unpack else []
        words += [rights(decoded, uri)]
        words += [cargo.direct[output.path]] if output else []
        found.append(" ".join(words))
    assert not inputs
    assert not outputs
    return found


def seen(decoded: Decoded) -> dict[str, Any]:
    """Return a job and its cargo as the table has them."""
    job, cargo, told = decoded.job, decoded.cargo, origin(decoded.cargo)
    key, home = told.experiment, (job.workdir or "").removesuffix("/workspace")
    env = dict(job.env)
    assert home == f"experiments/{env.pop('STUDIOML_EXPERIMENT')}"
    assert [output.path for output in job.outputs] == sorted(output.path for output in job.outputs)
    assert cargo.homes == ("STUDIOML_HOME",)
    assert cargo.log == f"{home}/output/output"
    requires = {name: getattr(job.requires, name) for name in ("cpus", "memory", "disk")}
    requires |= {"accel": job.requires.accel} if job.requires.accel else {}
    requires |= {"gpus": job.requires.gpus, "gpu_where": job.requires.gpu_where} if job.requires.gpus else {}
    venv = cargo.venv
    assert isinstance(job.image, str)
    return {
        "command": job.command,
        "image": short(job.image, key),
        "venv": None if venv is None else (venv.python, len(venv.requirements), venv.extra),
        "env": env,
        "requires": requires,
        "timeout": job.timeout,
        "expires": decoded.expires_at and int(decoded.expires_at),
        "every": {output.every for output in job.outputs}.pop(),
        "labels": job.labels,
        "database": with_rights(decoded, told.database.uri, key),
        "metadata": with_rights(decoded, told.metadata_uri, key),
        "sealed": told.sealed,
        "artifacts": lines(decoded, key, home),
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_message_becomes_the_job_that_its_client_meant(name: str) -> None:
    assert is_request(body(name))
    decoded = decode(body(name), UNSIGNED_TOO)
    expected = {**MOST, **EXPECTED[name]}
    expected["expires"] = expected.pop("added") + expected.pop("lifetime")
    assert seen(decoded) == expected


def test_every_recorded_message_is_in_the_table() -> None:
    assert set(EXPECTED) == {path.stem for path in VECTORS.glob("0*.json")}
