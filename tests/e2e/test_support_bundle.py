"""`edge-agent support-bundle`: what it holds beside an agent, without one, and with a broken configuration."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.e2e.site import Site

WRITTEN, IN_FILE, IN_URL, IN_JOB, IN_ENVIRONMENT, OF_POLICY = (
    "written-in-config-1",
    "written in a file 2",
    "user-of-a-url-3",
    "variable-of-a-job-4",
    "variable-of-the-agent-5",
    "secret-for-jobs-6",
)
PLANTED = (WRITTEN, IN_FILE, IN_URL, IN_JOB, IN_ENVIRONMENT, OF_POLICY)


def bundle_of(site: Site, *, secrets: tuple[str, ...] = PLANTED) -> dict[str, str]:
    """Make a bundle; return its members, in none of which there is a secret, and the listing names all of them."""
    out = site.folder / "bundle.tar.gz"
    out.unlink(missing_ok=True)
    done = site.run("support-bundle", "--out", str(out), env={**os.environ, "PROXY_PASSWORD": IN_ENVIRONMENT})
    assert done.returncode == 0, done.stderr
    with tarfile.open(out) as archive:
        found = {}
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            found[entry.name.removeprefix("edge-agent-support/")] = stream.read().decode(errors="replace")
    for name, text in found.items():
        assert not [secret for secret in secrets if secret in text], name
        assert name in done.stdout
    assert str(out) in done.stdout
    return found


def with_secrets(new_site: Callable[..., Site], folder: Path) -> Site:
    """Return a site with secrets wherever one may be."""
    (folder / "password").write_text(f"{IN_FILE}\n")
    (folder / "for-jobs").write_text(f"{OF_POLICY}\n")
    more = f"""
[s3]
endpoint = "http://127.0.0.1:9"
access_key = "edge"
secret_key = "{WRITTEN}"
[mqtt]
url = "mqtt://127.0.0.1:9"
username = "edge"
password_file = "{folder}/password"
[policy]
input_prefixes = ["https://{IN_URL}:pw@127.0.0.1/data/"]
[policy.secrets.api]
file = "{folder}/for-jobs"
[labels]
note = "{WRITTEN}"
"""
    return new_site(more=more)


def test_beside_an_agent_all_parts_are_there_and_no_secret_is(new_site: Callable[..., Site], tmp_path: Path) -> None:
    site = with_secrets(new_site, tmp_path)
    with site.agent():
        sid = site.submit("echo started; sleep 60", env={"TOKEN": IN_JOB, "PLAIN": f"x{IN_JOB}"})
        site.wait_printed(sid, "started")
        found = bundle_of(site)
        site.call("cancel", sid)
        site.wait_state(sid, "cancelled")
    parts = {"versions.json", "configuration.json", "doctor.json", "status.json", "journal.json", "files.txt"}
    assert parts | {"probe.json", "logs/holder.log", "host/_provenance.json"} <= set(found)
    assert json.loads(found["status.json"])["host"] == "host-a"
    settings = {row["key"]: row for row in json.loads(found["configuration.json"])["settings"]}
    assert settings["s3.secret_key"]["value"] == settings["labels.note"]["value"] == "***"
    assert str(site.config) in settings["s3.secret_key"]["origin"]
    (entry,) = json.loads(found["journal.json"]).values()
    assert (entry["queue"], entry["state"]) == ("work", "started")
    assert "command" not in found["journal.json"]
    assert {row["check"] for row in json.loads(found["doctor.json"])} >= {"runtime", "broker"}
    assert f"attempts/{sid}.1" in found["files.txt"]


def test_the_recorded_host_in_it_can_be_probed(site: Site, tmp_path: Path) -> None:
    found = bundle_of(site, secrets=())
    for name, text in found.items():
        if name.startswith("host/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    probed = json.loads(site.call("probe", "--root", str(tmp_path / "host"), "--json"))
    assert probed["cpu"] == json.loads(found["probe.json"])["cpu"]


def test_without_an_agent_the_parts_that_are_missing_say_why(new_site: Callable[..., Site], tmp_path: Path) -> None:
    found = bundle_of(with_secrets(new_site, tmp_path))
    assert "no agent" in found["status.error.txt"]
    assert "no agent ran here" in found["journal.error.txt"]
    assert "doctor.json" in found


def test_with_a_broken_configuration_the_bundle_says_what_is_wrong(
    new_site: Callable[..., Site], tmp_path: Path
) -> None:
    site = with_secrets(new_site, tmp_path)
    site.config.write_text(site.config.read_text().replace("workers = 2", "wrokers = 2"))
    found = bundle_of(site)
    assert "wrokers" in json.loads(found["configuration.json"])["error"]
    assert {"versions.json", "probe.json", "files.txt"} <= set(found)
    assert "doctor.json" not in found


def test_a_file_that_is_there_is_never_overwritten(site: Site) -> None:
    out = site.folder / "bundle.tar.gz"
    out.write_text("mine")
    done = site.run("support-bundle", "--out", str(out))
    assert done.returncode == 2
    assert out.read_text() == "mine"
