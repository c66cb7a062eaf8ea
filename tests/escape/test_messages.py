"""What a hostile message asks the agent to do with the agent's own rights, and what a job leaves for it to pick up."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.wire import read_job_file

from tests.e2e.site import Site, to_toml
from tests.escape.conftest import give_away
from tests.waiting import wait_until

SECRET = "of the host alone"


@pytest.fixture
def victim(place: Path) -> Path:
    """A folder of the host that no job may read or change, with one file; the agent's user may do both."""
    folder = place / "victim"
    folder.mkdir()
    (folder / "shadow").write_text(SECRET)
    give_away(folder)
    return folder


@pytest.fixture
def data(place: Path) -> Path:
    """A folder that jobs may read and publish to."""
    folder = place / "data"
    folder.mkdir()
    (folder / "in").write_text("for all\n")
    give_away(folder)
    return folder


@pytest.fixture
def guarded(users_site: Callable[..., Site], data: Path) -> Site:
    """A site whose jobs may use the data folder and nothing else."""
    allowed = f'["{data.as_uri()}"]'
    return users_site(more=f"[policy]\ninput_prefixes = {allowed}\noutput_prefixes = {allowed}\n")


def untouched(victim: Path) -> bool:
    """Whether the victim's folder is as it was."""
    return [(path.name, path.read_text()) for path in victim.iterdir()] == [("shadow", SECRET)]


def sent(site: Site, script: str, **keys: Any) -> str:
    """Submit without a process for each job; return the id."""
    return site.client.submit(read_job_file(to_toml(site.job(script, **keys)), "job.toml"))


def reasons(site: Site, sid: str) -> list[str]:
    """Return why the one host refuses a job."""
    return [refusal.reason for host in site.client.find(sid).refusals for refusal in host.refusals]


def stored(site: Site) -> bytes:
    """Everything in the results store."""
    return b"".join(path.read_bytes() for path in (site.queue / "results").rglob("*") if path.is_file())


# --- what is asked for ----------------------------------------------------------------------------------------------


def test_the_agents_rights_are_not_the_jobs(guarded: Site, data: Path, victim: Path) -> None:
    first = guarded.submit()
    guarded.until_empty()
    result = next(path for path in guarded.records(f"{first}/**/*") if path.is_file() and path.name == "commit.json")
    inputs = (
        "file:///etc/shadow",
        "file://localhost/etc/shadow",
        "FILE:///etc/shadow",
        f"{data.as_uri()}/../victim/shadow",
        f"{data.as_uri()}/%2e%2e/victim/shadow",
        f"{data.as_uri()}/..%2fvictim/shadow",
        f"{data.as_uri()}%00/../victim/shadow",
        f"{data.as_uri()}-other/x",
        result.as_uri(),
        (guarded.state / "journal.db").as_uri(),
        guarded.config.as_uri(),
        "http://169.254.169.254/latest/meta-data/",
        "s3://results/x",
    )
    outputs = (
        (victim / "new").as_uri(),
        f"{data.as_uri()}/../victim/new",
        result.as_uri(),
        result.with_name("commit.json.new").as_uri(),
        (guarded.queue / "queue/pending/any-none/evil.json").as_uri(),
        "file:///etc/cron.d/evil",
    )
    before = result.read_bytes()
    asked: dict[str, str] = {}
    for uri in inputs:
        asked[sent(guarded, "cat in > out", inputs=[{"uri": uri, "path": "in"}])] = "input-source"
    for uri in outputs:
        asked[sent(guarded, "echo evil > out", outputs=[{"path": "out", "uri": uri}])] = "output-target"
    for name in ("../journal.db", "PATH", "/etc/shadow"):
        asked[sent(guarded, "env > out", secrets=[name])] = "secret"
    asked[sent(guarded, "true", network="host")] = "network"
    guarded.until_empty()
    for sid, reason in asked.items():
        assert reason in reasons(guarded, sid), sid
        assert guarded.attempts(sid) == []
    assert untouched(victim)
    assert result.read_bytes() == before
    assert SECRET.encode() not in stored(guarded)


def test_a_link_below_an_allowed_folder_does_not_lead_out_of_it(guarded: Site, data: Path, victim: Path) -> None:
    (data / "leads").symlink_to(victim)
    through = (data / "leads/shadow").as_uri()
    wrote = guarded.submit("echo own > out", outputs=[{"path": "out", "uri": through}])
    read = guarded.submit("cat in > out", inputs=[{"uri": through, "path": "in"}])
    guarded.until_empty()
    assert untouched(victim)
    assert SECRET.encode() not in stored(guarded)
    assert guarded.client.find(wrote).is_over
    assert guarded.state_of(read) == "failed"


def test_what_is_no_image_is_not_shown(guarded: Site, victim: Path) -> None:
    places = (victim / "shadow", victim, Path("/etc/shadow"), Path("/dev/zero"), guarded.state / "journal.db")
    sids = [sent(guarded, "true", image=path.as_uri()) for path in places]
    log = guarded.until_empty()
    for sid in sids:
        assert guarded.attempts(sid) == []
        assert reasons(guarded, sid)
        assert SECRET not in str(guarded.client.find(sid))
    assert SECRET not in log


def test_image_files_come_from_the_agents_own_folder_unless_the_operator_names_others(
    new_site: Callable[..., Site], image: Path, victim: Path
) -> None:
    site = new_site(images=False)
    folder = site.state / "images"
    assert site.run("run", "--until-empty").returncode == 0  # makes it
    assert folder.stat().st_mode & 0o777 == 0o700
    shutil.copy(image, folder / "own.sif")
    (folder / "link.sif").symlink_to(image)
    own = sent(site, "echo ran > out", image=(folder / "own.sif").as_uri(), outputs=[{"path": "out"}])
    places = (
        image.as_uri(),
        "file:///etc/shadow",
        f"{folder.as_uri()}/../journal.sqlite",
        "docker://busybox",
        "s3://a/b",
    )
    refused = [sent(site, "true", image=uri) for uri in (*places, (folder / "link.sif").as_uri())]
    log = site.until_empty()
    assert site.state_of(own) == "succeeded"
    assert [reasons(site, sid) for sid in refused] == [["image-source"]] * len(places) + [["image-unusable"]]
    assert [site.attempts(sid) for sid in refused] == [[]] * len(refused)
    assert f'[policy] image_prefixes = ["{image.parent.as_uri()}/"]'.replace('"', '\\"') in log


PATHS = ("/etc/shadow", "../../victim/shadow", "a/../../../victim", "a\nb", "")
MESSAGES: dict[str, dict[str, Any]] = {
    **{f"output-{index}": {"outputs": [{"path": path}]} for index, path in enumerate(PATHS)},
    **{f"input-{index}": {"inputs": [{"uri": "file:///x", "path": path}]} for index, path in enumerate(PATHS)},
    **{f"workdir-{index}": {"workdir": path} for index, path in enumerate(PATHS)},
    **{f"checkpoint-{index}": {"checkpoint": {"path": path}} for index, path in enumerate(PATHS)},
    "id": {"id": "../../victim"},
    "variable": {"env": {"A\nB": "x"}},
    "variable-of-bash": {"env": {"BASH_FUNC_echo%%": "() { id; }"}},
    "value": {"env": {"A": "x\0y"}},
    "word": {"command": ["sh", "x\0y"]},
    "architecture": {"requires": {"arch": ["$(id)"]}},
}


def test_messages_that_lead_out_of_the_jobs_directory_are_dead_letters(guarded: Site, victim: Path) -> None:
    lane = guarded.queue / "queue" / "pending" / "any-none"
    lane.mkdir(parents=True)
    for name, keys in MESSAGES.items():
        (lane / f"{name}.json").write_text(json.dumps({**guarded.job("echo ran > out"), **keys}))
    guarded.until_empty()
    assert guarded.waiting() == []
    assert {name: guarded.state_of(name) for name in MESSAGES} == dict.fromkeys(MESSAGES, "dead")
    assert untouched(victim)


def test_a_name_writes_no_line_of_its_own_into_the_log(guarded: Site) -> None:
    forged = '\n{"event": "forged"}\r\n2026-01-01 forged \x1b[2J\x1b[31m'
    sid = guarded.submit("printf '%s' \"$0\"; exit 3", name=forged, labels={"a": forged}, env={"A": forged})
    log = guarded.until_empty()
    assert guarded.state_of(sid) == "failed"
    assert not [line for line in log.splitlines() if line.startswith(('{"event": "forged"', "2026-01-01 forged"))]
    assert "\x1b" not in log


# --- what is left for the agent -------------------------------------------------------------------------------------

LEAVE = """
ln -s {victim}/shadow link
ln -s {victim} folder
ln -s ../../../victim/shadow relative
ln -s / tree-root; mkdir tree; ln -s {victim}/shadow tree/link; ln -s {victim} tree/folder; echo own > tree/own
mkfifo fifo tree/fifo; ln tree/own tree/same
perl -e 'for my $name ("socket", "tree/socket") {{ socket(my $s, 1, 1, 0); bind($s, pack("S a*", 1, $name)) or die }}'
name=$(printf 'a\\nb'); mkdir "$name"; echo own > "$name/own"; mkdir odd; echo own > "odd/$name"; echo own > odd/-rf
mkdir closed; echo own > closed/own; chmod 0 closed
cp /bin/id tree/setuid; chmod 6755 tree/setuid
"""
LEFT = ("link", "folder/shadow", "relative", "tree-root/etc/passwd", "tree", "fifo", "socket", "odd", "closed")


def test_outputs_lead_nowhere_out_of_the_jobs_directory(
    users_site: Callable[..., Site], place: Path, victim: Path
) -> None:
    site = users_site()
    script = LEAVE.format(victim=victim)
    sid = site.submit(script, outputs=[{"path": path} for path in LEFT])
    site.until_empty()
    view = site.view(sid)
    assert view["state"] == "succeeded", site.log_of(sid)
    assert {"outputs/tree", "outputs/odd"} <= {each["name"] for each in view["artifacts"]}
    assert not {
        f"outputs/{path}" for path in ("link", "folder/shadow", "relative", "tree-root/etc/passwd", "fifo", "socket")
    } & {each["name"] for each in view["artifacts"]}
    assert SECRET.encode() not in stored(site)
    tree = next(each for each in view["artifacts"] if each["name"] == "outputs/tree")
    with tarfile.open(site.queue / "results" / tree["key"]) as archive:
        assert {each.name.rstrip("/") for each in archive} == {"link", "folder", "own", "same", "setuid"}
    wait_until(lambda: list((site.state / "attempts").iterdir()) == [], 15, "the attempt's directory is removed")
    assert untouched(victim)
    here = site.folder / "here"
    site.call("results", sid, "--to", str(here))
    assert (here / "odd/a\nb").read_text() == "own\n"
    assert (here / "tree/same").read_text() == "own\n"
    assert not (here / "tree/setuid").stat().st_mode & 0o6000
    assert untouched(victim)


def test_outputs_that_take_no_disk_do_not_fill_the_store(users_site: Callable[..., Site]) -> None:
    site = users_site()
    script = "mkdir many; for n in $(seq 500); do truncate -s 1M many/$n; done"
    outputs = [{"path": "many"}]
    sid = site.submit(script, outputs=outputs, requires={"disk": "1MiB"}, checkpoint={"path": "many", "every": "1s"})
    site.until_empty()
    assert site.state_of(sid) == "failed"
    assert 'output "many": more than 66 MiB' in site.view(sid)["reason"]
    assert sum(path.stat().st_size for path in site.queue.rglob("*") if path.is_file()) < 1024**2


def test_a_checkpoint_of_links_is_not_followed_when_it_is_restored_and_read(
    users_site: Callable[..., Site], victim: Path
) -> None:
    site = users_site()
    script = f"""
        if [ -e ck/own ]; then
            cat ck/link ck/folder/shadow > out 2>&1; echo evil > ck/folder/new; echo evil > ck/link
            ls ck >> out; exit 0
        fi
        mkdir ck; ln -s {victim}/shadow ck/link; ln -s {victim} ck/folder; echo own > ck/own; sleep 4; exit 1
    """
    outputs = [{"path": "out"}, {"path": "ck/link"}, {"path": "ck/folder/shadow"}, {"path": "ck/folder"}]
    sid = site.submit(script, checkpoint={"path": "ck", "every": "1s"}, retries=1, outputs=outputs)
    site.until_empty()
    assert site.state_of(sid) == "succeeded"
    assert [each["outcome"] for each in site.attempts(sid)] == ["failed", "succeeded"]
    out = site.output(sid)
    assert out.endswith("folder\nlink\nown\n")
    assert out.count("No such file") == 2
    assert [each["name"] for each in site.view(sid)["artifacts"]] == ["log", "outputs/out"]
    assert SECRET.encode() not in stored(site)
    assert untouched(victim)
