"""Native jobs that travel signed, on a host that demands it; and what else its policy refuses, with the rule."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.wire import encode, read_job_file
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.e2e.site import Site, to_toml
from tests.studioml_keys import VECTORS


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key of OpenSSH; its public half lies beside it."""
    made, file = Ed25519PrivateKey.generate(), tmp_path / "alice"
    file.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    file.with_suffix(".pub").write_bytes(made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return file


@pytest.fixture
def strict(new_site: Callable[..., Site], key: Path) -> Site:
    """A site that runs jobs signed by alice only."""
    rules = f'[policy]\nrequire_signed = true\n[policy.signers]\nalice = {{file = "{key}.pub", queues = ["work"]}}\n'
    return new_site(more=rules)


def sign_and_submit(site: Site, script: str, *flags: str, **options: dict[str, str]) -> str:
    table = to_toml(site.job(script, outputs=[{"path": "out"}]))
    return site.call("submit", *flags, "-", input=table, **options).strip()


def message_of(site: Site, sid: str) -> Path:
    (found,) = (site.queue / "queue/pending").glob(f"*/{sid}.json")
    return found


def test_only_a_signed_job_runs_where_signatures_are_required(strict: Site, key: Path, tmp_path: Path) -> None:
    named = sign_and_submit(strict, "echo named > out", "--sign", str(key), "--signer", "alice")
    by_key = sign_and_submit(strict, "echo by key > out", "--sign", str(key))
    unsigned = strict.submit("echo unsigned > out")
    tampered = sign_and_submit(strict, "echo right > out", "--sign", str(key))
    file = message_of(strict, tampered)
    file.write_text(file.read_text().replace("echo right", "echo wrong"))
    unknown = sign_and_submit(strict, "echo x > out", "--sign", str(key), "--signer", "mallory")

    log = strict.until_empty()
    assert "signer=alice" in log
    assert strict.output(named) == "named\n"
    assert strict.output(by_key) == "by key\n"
    why = {sid: (strict.view(sid)["state"], strict.view(sid)["reason"]) for sid in (unsigned, tampered, unknown)}
    assert {state for state, _ in why.values()} == {"dead"}
    assert "[policy] require_signed = true" in why[unsigned][1]
    assert "is not that of the key in [policy.signers]" in why[tampered][1]
    assert 'signed by "mallory", whom this host does not know' in why[unknown][1]
    assert all(strict.attempts(sid) == [] for sid in why)
    assert strict.waiting() == []
    assert log.count("message cannot be run") == 3
    assert "message cannot be run" not in strict.until_empty()
    # What people see of it is the job itself.
    submission = json.loads((strict.queue / "results" / named / "submission.json").read_text())
    assert submission["job"]["command"][:2] == ["sh", "-c"]


def test_a_message_of_another_form_is_no_way_around_the_signature(strict: Site) -> None:
    lane = strict.queue / "queue/pending/any-none"
    lane.mkdir(parents=True)
    (lane / "plain.json").write_bytes((VECTORS / "01_plain.json").read_bytes())
    strict.until_empty()
    assert (strict.attempts("plain"), strict.waiting()) == ([], [])
    (burial,) = strict.records("plain/dead.json")
    assert "in clear text" in json.loads(burial.read_text())["reason"]


def test_a_job_signed_as_configured_is_shown_with_its_signer(strict: Site, key: Path) -> None:
    signing = {
        **strict_environment(),
        "EDGE_AGENT_SUBMIT__SIGN_KEY_FILE": str(key),
        "EDGE_AGENT_SUBMIT__SIGNER": "alice",
    }
    sid = sign_and_submit(strict, "echo x > out", env=signing)
    message = str(message_of(strict, sid))
    assert strict.call("decode", message).startswith(
        "run: a native job, signed by alice (not verified: name a --queue)\n"
    )
    assert strict.call("decode", "--queue", "work", message).startswith("run: a native job, signed by alice\n")
    answer = json.loads(strict.call("decode", "--queue", "work", "--json", message))
    assert (answer["signer"], answer["job"]["api"]) == ({"name": "alice", "verified": True}, "edge-agent/v1")
    assert strict.call("explain", sid).endswith(
        "on " + json.loads(strict.call("probe", "--json"))["cpu"]["arch"] + ".\n"
    )
    table = read_job_file(to_toml(strict.job("true")), "job.toml")
    refused = strict.run("decode", "--queue", "work", "-", input=encode(table).decode())
    assert (refused.returncode, refused.stdout.split(":")[0]) == (1, "dead-letter")


def strict_environment() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_a_key_of_ssh_keygen_signs(strict: Site, tmp_path: Path) -> None:
    file = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=30)
    with strict.config.open("a") as config:
        config.write(f'bob = {{key = "{file.with_suffix(".pub").read_text().strip()}"}}\n')
    sid = sign_and_submit(strict, "echo signed > out", "--sign", str(file))
    strict.until_empty()
    assert strict.output(sid) == "signed\n"


def test_a_key_that_cannot_be_used_is_named(strict: Site, tmp_path: Path) -> None:
    gone = strict.run("submit", "--sign", str(tmp_path / "gone"), "-", input=to_toml(strict.job("true")))
    assert (gone.returncode, f"{tmp_path}/gone: No such file" in gone.stderr) == (2, True)
    nameless = strict.run("submit", "--signer", "alice", "-", input=to_toml(strict.job("true")))
    assert (nameless.returncode, "add --sign KEYFILE" in nameless.stderr) == (2, True)


def test_what_the_policy_refuses_is_said_with_its_rule(new_site: Callable[..., Site], image: Path) -> None:
    rules = f'[policy]\nimage_prefixes = ["{image.parent.as_uri()}/none/"]\nmax_memory = "32MiB"\nmax_cpus = 0.25\n'
    site = new_site(more=rules)
    sid = site.submit()
    site.until_empty()
    refused = {row["reason"]: row["remedy"] for row in site.view(sid)["refusals"][0]["refusals"]}
    assert refused == {
        "cpus": "ask for less, or raise [policy] max_cpus",
        "memory": "ask for less, or raise [policy] max_memory",
        "image-source": f"copy it into {site.state}/images/, or allow a prefix of it: "
        f'[policy] image_prefixes = ["{image.parent.as_uri()}/"]',
    }
    shown = site.run("explain", sid)
    assert shown.returncode == 1
    assert all(remedy in shown.stdout for remedy in refused.values())
    assert site.attempts(sid) == []
