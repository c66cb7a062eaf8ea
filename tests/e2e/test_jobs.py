"""What a job may ask for, one by one, from `submit` to its results."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.waiting import wait_until

SLEEP = "echo running; exec sleep 300"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that the site's policy allows inputs from."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def reading(new_site: Callable[..., Site], data: Path) -> Site:
    """A site whose jobs may read the folder."""
    return new_site(more=f'[policy]\ninput_prefixes = ["{data.as_uri()}"]\n')


# --- ends -----------------------------------------------------------------------------------------------------------


def test_a_job_leaves_its_log_its_files_and_its_trees(site: Site, tmp_path: Path) -> None:
    outputs = [{"path": "out"}, {"path": "tree"}, {"path": "not-made"}]
    sid = site.submit("echo said; echo one > out; mkdir -p tree/sub; echo two > tree/sub/file", outputs=outputs)
    site.until_empty()
    view = site.view(sid)
    assert (view["state"], view["exit_code"], view["attempts"], view["host"]) == ("succeeded", 0, 1, "host-a")
    assert {each["name"]: each.get("kind", "file") for each in view["artifacts"]} == {
        "log": "file",
        "outputs/out": "file",
        "outputs/tree": "tree",
    }
    for artifact in view["artifacts"]:
        content = (site.queue / "results" / artifact["key"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (artifact["size"], artifact["sha256"])
    site.call("results", sid, "--to", str(tmp_path / "here"))
    assert (tmp_path / "here/out").read_text() == "one\n"
    assert (tmp_path / "here/tree/sub/file").read_text() == "two\n"
    assert site.log_of(sid) == "said\n"
    assert site.waiting() == []
    site.wait_clean()


def test_a_failing_job_keeps_its_exit_code_its_log_and_the_outputs_that_are_kept_always(site: Site) -> None:
    outputs = [{"path": "out"}, {"path": "good", "when": "success"}]
    sid = site.submit("echo sorry >&2; echo part > out; echo x > good; exit 42", outputs=outputs)
    site.until_empty()
    view = site.view(sid)
    assert (view["state"], view["exit_code"], view["reason"]) == ("failed", 42, "exit code 42")
    assert sorted(each["name"] for each in view["artifacts"]) == ["log", "outputs/out"]
    assert site.log_of(sid) == "sorry\n"


def test_a_failed_job_runs_again_as_often_as_it_has_retries(site: Site) -> None:
    recovers = site.submit("echo $EDGE_ATTEMPT > out; [ $EDGE_ATTEMPT = 2 ]", retries=3)
    gives_up = site.submit("exit 5", retries=1)
    other_code = site.submit("exit 6", retries=3, retry_on=[7])
    site.until_empty()
    assert site.output(recovers) == "2\n"
    assert [each["outcome"] for each in site.attempts(recovers)] == ["failed", "succeeded"]
    assert (site.state_of(gives_up), len(site.attempts(gives_up))) == ("failed", 2)
    assert (site.state_of(other_code), len(site.attempts(other_code))) == ("failed", 1)


def test_a_job_is_ended_at_its_timeout_and_what_it_made_is_kept(site: Site) -> None:
    sid = site.submit("echo begun > out; sleep 300", timeout="1s", grace="1s")
    site.until_empty()
    view = site.view(sid)
    assert (view["state"], view["reason"]) == ("timed-out", "ran longer than its timeout of 1 s")
    assert site.output(sid) == "begun\n"
    assert site.commits(sid) == 1
    site.wait_clean()


def test_the_timeout_holds_while_no_agent_runs(site: Site) -> None:
    sid = site.submit(SLEEP, timeout="3s", grace="1s")
    with site.agent() as agent:
        site.wait_printed(sid, "running")
        agent.kill()
        agent.wait()
    wait_until((site.directory(sid) / "exit.json").exists, 15, "the holder ends the job")
    site.until_empty()
    assert site.state_of(sid) == "timed-out"
    assert len(site.attempts(sid)) == 1
    site.wait_clean()


def test_a_job_that_uses_more_memory_than_it_asked_for_is_ended(site: Site) -> None:
    sid = site.submit("dd if=/dev/zero of=/dev/null bs=256M", retries=0)
    site.until_empty()
    view = site.view(sid)
    assert (view["state"], view["reason"]) == ("out-of-memory", f"used more than its {64 * 1024**2} bytes of memory")
    site.wait_clean()


# --- cancel ---------------------------------------------------------------------------------------------------------


def test_a_waiting_job_that_is_cancelled_never_starts(site: Site) -> None:
    sid = site.submit()
    assert site.call("cancel", sid) == f"{sid} is cancelled\n"
    site.until_empty()
    assert site.state_of(sid) == "cancelled"
    assert site.attempts(sid) == []


def test_a_running_job_that_is_cancelled_ends_and_keeps_what_it_made(site: Site) -> None:
    sid = site.submit("echo part > out; " + SLEEP, grace="1s")
    with site.agent():
        site.wait_printed(sid, "running")
        site.call("cancel", sid)
        site.wait_state(sid, "cancelled")
        site.wait_clean()
    assert site.output(sid) == "part\n"
    assert site.log_of(sid) == "running\n"


def test_a_running_job_is_cancelled_from_any_host_that_reaches_the_stores(new_site: Callable[..., Site]) -> None:
    site = new_site("host-a", lease="3s")
    desk = new_site("desk", queue=site.queue)
    sid = site.submit(SLEEP, grace="1s")
    with site.agent():
        site.wait_printed(sid, "running")
        desk.call("cancel", sid)
        site.wait_state(sid, "cancelled")
    again = desk.run("cancel", sid)
    assert (again.returncode, again.stderr) == (1, f"edge-agent: job {sid} is over already\n")


# --- what goes in ---------------------------------------------------------------------------------------------------


def test_inputs_are_fetched_checked_and_unpacked(reading: Site, data: Path) -> None:
    (data / "book.txt").write_text("words\n")
    with tarfile.open(data / "tree.tar.gz", "w:gz") as archive:
        archive.add(data / "book.txt", "inside/book.txt")
    digest = hashlib.sha256(b"words\n").hexdigest()
    inputs = [
        {"uri": (data / "book.txt").as_uri(), "path": "in/book.txt", "sha256": digest},
        {"uri": (data / "tree.tar.gz").as_uri(), "path": "in/tree", "unpack": True},
    ]
    sid = reading.submit("cat in/book.txt in/tree/inside/book.txt > out", inputs=inputs)
    reading.until_empty()
    assert reading.output(sid) == "words\nwords\n"


def test_an_input_with_another_digest_fails_the_job_before_it_runs(reading: Site, data: Path) -> None:
    (data / "book.txt").write_text("words\n")
    wrong = "0" * 64
    inputs = [{"uri": (data / "book.txt").as_uri(), "path": "book.txt", "sha256": wrong}]
    sid = reading.submit("echo ran > out", inputs=inputs)
    reading.until_empty()
    view = reading.view(sid)
    assert view["state"] == "failed"
    assert wrong in view["reason"]
    assert hashlib.sha256(b"words\n").hexdigest() in view["reason"]
    assert view["started_at"] is None


def test_an_input_from_elsewhere_is_refused(reading: Site) -> None:
    sid = reading.submit(inputs=[{"uri": "file:///etc/hostname", "path": "name"}])
    reading.until_empty()
    assert [each["reason"] for each in reading.view(sid)["refusals"][0]["refusals"]] == ["input-source"]
    assert reading.attempts(sid) == []


def test_a_job_gets_the_secrets_it_names_and_nobody_prints_them(new_site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-from-file")
    offered = f'TOKEN = {{file = "{tmp_path}/token"}}\nKEY = {{env = "SITE_KEY"}}\nOTHER = {{env = "SITE_KEY"}}\n'
    site = new_site(more=f"[policy.secrets]\n{offered}")
    sid = site.submit("cd /run/secrets; cat TOKEN KEY > ~/out; ls > ~/names", secrets=["TOKEN", "KEY"])
    absent = site.submit(secrets=["NOT_OFFERED"])
    with site.agent("--until-empty", env={"PATH": "/usr/bin:/bin", "SITE_KEY": "s3cret-from-env"}) as agent:
        assert agent.wait(60) == 0
    assert site.output(sid) == "s3cret-from-files3cret-from-env"
    shown = site.agent_log() + site.call("config", "show") + json.dumps(site.view(sid))
    assert "s3cret" not in shown
    assert site.view(absent)["refusals"][0]["refusals"][0]["reason"] == "secret"
    site.wait_clean()


def test_a_checkpoint_is_restored_when_the_job_runs_again(site: Site) -> None:
    script = 'if [ -e ck/n ]; then cp ck/n out; else mkdir ck; echo "step 7" > ck/n; echo kept; exec sleep 300; fi'
    sid = site.submit(script, checkpoint={"path": "ck", "every": "1s"}, grace="1s")
    with site.agent() as agent:
        site.wait_printed(sid, "kept")
        wait_until(lambda: site.attempts(sid)[0]["checkpoint"], 15, "a checkpoint is saved")
        agent.send_signal(signal.SIGINT)
        assert agent.wait(30) == 0
    site.until_empty()
    assert site.output(sid) == "step 7\n"
    assert [each["outcome"] for each in site.attempts(sid)] == ["stopped", "succeeded"]


# --- where it runs --------------------------------------------------------------------------------------------------


def test_a_job_has_no_network_and_may_ask_for_the_hosts_only_where_that_is_allowed(site: Site) -> None:
    alone = site.submit("sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' ' > out")
    asking = site.submit(network="host")
    site.until_empty()
    assert site.output(alone) == "lo\n"
    assert site.view(asking)["refusals"][0]["refusals"][0]["reason"] == "network"


def test_a_job_sees_its_own_variables_byte_for_byte_and_none_of_the_agents(site: Site) -> None:
    odd = "a \"b\" 'c' $(id) `id` ${HOME} \\ , ü = \n end"
    sid = site.submit('printf %s "$ODD" > out', env={"ODD": odd})
    named = site.submit("env | cut -d= -f1 | sort > out", env={"MINE": "1"})
    with site.agent("--until-empty", env={"PATH": "/usr/bin:/bin", "AGENTS_OWN": "1", "HOME": "/nowhere"}) as agent:
        assert agent.wait(60) == 0
    assert site.output(sid) == odd
    of_the_runtime = re.compile("(APPTAINER|SINGULARITY)_.*|LD_LIBRARY_PATH|PROMPT_COMMAND|PS1|PWD|_|SHLVL")
    names = {name for name in site.output(named).split() if not of_the_runtime.fullmatch(name)}
    assert names == {"MINE", "EDGE_JOB", "EDGE_ATTEMPT", "HOME", "PATH", "LANG", "PYTHONUNBUFFERED"}


def test_a_job_starts_in_its_own_directory_or_below_it(site: Site) -> None:
    top = site.submit("pwd > out; echo $HOME >> out")
    below = site.submit("pwd > ~/out", workdir="deep/down")
    site.until_empty()
    assert site.output(top) == "/home/job\n/home/job\n"
    assert site.output(below) == "/home/job/deep/down\n"


def test_the_image_of_this_architecture_runs(site: Site, tmp_path: Path) -> None:
    own, other = json.loads(site.call("probe", "--json"))["cpu"]["arch"], "riscv64"
    named = tmp_path / f"tiny-{own}.sif"
    named.symlink_to(site.image)
    table = site.submit("echo table > out", image={own: site.image.as_uri(), other: "file:///none.sif"})
    pattern = site.submit("echo pattern > out", image=f"file://{tmp_path}/tiny-{{arch}}.sif")
    foreign = site.submit(image={other: site.image.as_uri()})
    site.until_empty()
    assert site.output(table) == "table\n"
    assert site.output(pattern) == "pattern\n"
    assert site.view(foreign)["refusals"][0]["refusals"][0]["reason"] == "architecture"


def test_a_pinned_image_runs_only_with_these_bytes(site: Site) -> None:
    digest = hashlib.sha256(site.image.read_bytes()).hexdigest()
    right = site.submit(image={"uri": site.image.as_uri(), "sha256": digest})
    wrong = site.submit(image={"uri": site.image.as_uri(), "sha256": "0" * 64})
    site.until_empty()
    assert site.state_of(right) == "succeeded"
    assert site.state_of(wrong) == "failed"
    assert digest in site.view(wrong)["reason"]


def test_a_job_that_expired_in_the_queue_is_closed_without_a_run(site: Site) -> None:
    sid = site.submit(submitted_at="2026-01-01T00:00:00Z", expires="2026-01-01T00:00:00Z")
    site.until_empty()
    assert site.state_of(sid) == "expired"
    assert site.attempts(sid) == []
