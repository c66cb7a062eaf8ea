"""SIGKILL of the agent at every call that leaves a trace outside: the next agent ends the job, once.

Each case names a transition of the attempt table by the calls around it (agent/attempt.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agent.adapters.s3 import S3Records

from tests.contract.s3_stores import AgingStore, public
from tests.e2e.site import Site
from tests.servers import Minio
from tests.waiting import wait_until

PROJECT = Path(__file__).parents[2]

# The calls of a job that succeeds, in order: claimed, staged, started, finished, committed, settled.
SUCCESS = (
    ("journal.put", 1),  # -> claimed
    ("results.claim", 1),
    ("images.fetch", 1),
    ("journal.put", 2),  # claimed -> started
    ("runtime.start", 1),
    ("artifacts.write", 1),  # started -> finished: saving begins
    ("artifacts.write", 2),
    ("results.commit", 1),
    ("results.update", 1),
    ("journal.put", 3),  # finished -> committed
    ("artifacts.copy", 1),
    ("source.settle", 1),
    ("runtime.remove", 1),
    ("journal.remove", 1),  # committed -> settled
)
# Those of a job that fails with a retry left: finished -> released.
GIVEN_BACK = (("results.update", 1), ("source.release", 1), ("runtime.remove", 1), ("journal.remove", 1))


def moments(calls: tuple[tuple[str, int], ...]) -> list[tuple[str, int, str]]:
    """Return when to die: before the first call, and after each; before a later one is after the one before it."""
    return [(*calls[0], "before"), *((*call, "after") for call in calls)]


def die(site: Site, call: str, number: int, when: str) -> None:
    """Run an agent that dies at the call."""
    argv = [sys.executable, "-m", "tests.e2e.mortal", str(site.config), call, str(number), when]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == -9, f"the agent outlived {call} {number}: {done.returncode}\n{done.stderr}"


def assert_ended_once(site: Site, sid: str, state: str) -> None:
    """The job has its one result, and nothing of it is left on the host."""
    view = site.view(sid)
    assert view["state"] == state, view
    assert site.commits(sid) == 1
    assert site.waiting() == []
    assert json.loads(site.call("jobs", "--json"))[0]["sid"] == sid
    wait_until(lambda: site.leftovers() == [], 10, "nothing is left of the job")


@pytest.mark.parametrize(("call", "number", "when"), moments(SUCCESS), ids=str)
def test_killed_agent_leaves_a_job_that_the_next_agent_ends(
    site: Site, published: str, call: str, number: int, when: str
) -> None:
    sid = site.submit("echo ran >> out; cat out", outputs=[{"path": "out", "uri": published}])
    die(site, call, number, when)
    site.until_empty()
    assert_ended_once(site, sid, "succeeded")
    assert site.output(sid) == "ran\n"
    assert Path(published.removeprefix("file://")).read_text() == "ran\n"


@pytest.fixture
def on_s3(request: pytest.FixtureRequest, new_site: Callable[..., Site], minio: Minio, bucket: str) -> Iterator[Site]:
    """A site whose queue, results and published outputs lie in a bucket."""
    with ExitStack() as stack:
        endpoint = minio.endpoint
        if request.param == WEAK:
            public(minio, bucket)
            endpoint = stack.enter_context(AgingStore(minio.port, ignores_conditions=True)).endpoint
        keys = f'access_key = "{minio.access_key}"\nsecret_key = "{minio.secret_key}"\n'
        allowed = f'[policy]\noutput_prefixes = ["s3://{bucket}/published/"]\n'
        more = f'[s3]\nendpoint = "{endpoint}"\n{keys}{allowed}'
        yield new_site(queue=f"s3://{bucket}/lab", more=more)


S3, WEAK = "s3", "s3-without-conditions"
# Between any two of: attempt record, uploads, commit, its record, journal, published copy, acknowledge.
ON_S3 = [("results.claim", 1), *SUCCESS[SUCCESS.index(("artifacts.write", 2)) : SUCCESS.index(("runtime.remove", 1))]]
# Where two may be told that they were first: what a crash leaves of it is recognized all the same.
ON_WEAK_S3 = [("results.claim", 1), ("results.commit", 1), ("results.update", 1)]


@pytest.mark.parametrize(
    ("on_s3", "call", "number", "when"),
    [*((S3, *call, "after") for call in ON_S3), *((WEAK, *call, "after") for call in ON_WEAK_S3)],
    ids=str,
    indirect=["on_s3"],
)
def test_killed_agent_leaves_a_result_on_s3_that_the_next_agent_completes(
    on_s3: Site, minio: Minio, bucket: str, call: str, number: int, when: str
) -> None:
    target = f"s3://{bucket}/published/out"
    sid = on_s3.submit("echo ran >> out; cat out", outputs=[{"path": "out", "uri": target}])
    die(on_s3, call, number, when)
    on_s3.until_empty()
    assert on_s3.state_of(sid) == "succeeded"
    results = S3Records(minio.client(), bucket, "lab/results")
    assert "commit" in results.list(f"{sid}/").records
    queue = S3Records(minio.client(), bucket, "lab/queue")
    assert [each for lane in queue.list("pending/").prefixes for each in queue.list(f"pending/{lane}/").records] == []
    assert minio.client().call("GET", bucket, "published/out").data == b"ran\n"
    wait_until(lambda: on_s3.leftovers() == [], 10, "nothing is left of the job")


@pytest.mark.parametrize(("call", "number", "when"), moments(GIVEN_BACK), ids=str)
def test_killed_agent_does_not_use_up_another_retry(site: Site, call: str, number: int, when: str) -> None:
    sid = site.submit("exit 3", retries=1, outputs=[])
    die(site, call, number, when)
    site.until_empty()
    assert_ended_once(site, sid, "failed")
    assert site.view(sid)["attempts"] == 2
    assert site.view(sid)["exit_code"] == 3


@pytest.fixture
def published(site: Site) -> str:
    """A place for outputs that the site's policy allows."""
    folder = site.folder / "published"
    folder.mkdir()
    with site.config.open("a") as config:
        config.write(f'[policy]\noutput_prefixes = ["{folder.as_uri()}"]\n')
    return (folder / "out").as_uri()
