from __future__ import annotations

from agent.explain import explain, summary
from agent.matching import MatchPolicy, examine, match
from agent.model.capabilities import Capabilities, RuntimeFacts
from agent.model.job import parse_job
from agent.model.share import Share
from agent.model.verdict import Standing, Verdict
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


def test_the_verdict_in_one_sentence() -> None:
    assert summary(match(JOB, HOST, SHARE, SHARE, IMAGES, POLICY)) == "The job cannot run on this host as it is."
    assert summary(Verdict(Standing.REFUSED_NOW)).startswith("The job fits this host")
    assert summary(Verdict(Standing.ACCEPTED, arch="amd64")) == "The job can start here now, on amd64."
    assert summary(Verdict(Standing.ACCEPTED, arch="arm64", emulated=True)).endswith("emulating arm64.")
