"""Checks of what this host reaches over the network or in shared directories."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial

from agent.checks.finding import Bench, Finding, doubtful, failed, good
from agent.errors import EdgeAgentError, StoreUnavailable
from agent.ports import ArtifactStore, RecordStore

SKEW_SECONDS = 30.0
TEST_BODY, OTHER_BODY = b'{"test": 1}', b'{"test": 2}'


def check_queues(bench: Bench) -> Iterator[Finding]:
    """Jobs can be taken from each queue and put into it."""
    for name, make in bench.records.items():
        yield _try_records(f"queue {name}", make)
    for name, try_rights in bench.queues.items():
        yield _try(f"queue {name}", try_rights, "jobs can be pulled and published")


def check_results(bench: Bench) -> Iterator[Finding]:
    """Records of each results store can be written, read and deleted, and a conditional write is kept."""
    for name, make in bench.results.items():
        yield _try_records(f"results {name}", make)
    for problem in bench.store_problems():
        yield doubtful("results", problem.message, problem.remedy or "")


def check_artifacts(bench: Bench) -> Iterator[Finding]:
    """An artifact can be written, read and deleted in each results store."""
    for name, make in bench.results.items():
        attempt = partial(_try_artifact, bench.artifacts, make, bench.results_roots[name])
        yield _try(f"artifacts {name}", attempt, "written, read and deleted")


def _try_artifact(artifacts: Callable[[], ArtifactStore], make: Callable[[], RecordStore], root: str) -> None:
    """Artifact stores delete nothing; under this name the artifact is a record as well, which can be deleted."""
    store, key = artifacts(), _test_key()
    uri = f"{root}/{key}.json"
    store.write(uri, [TEST_BODY])
    with store.open(uri) as stream:
        found = stream.read()
    make().delete(key)
    if found != TEST_BODY:
        raise StoreUnavailable(f"{uri} holds something else than was written")


def check_broker(bench: Bench) -> Iterator[Finding]:
    """The broker takes a connection and a message."""
    if bench.broker is None:
        yield good("broker", "none is configured; adverts go to the log")
    else:
        yield _try("broker", bench.broker, "connected and published")


def check_clocks(bench: Bench) -> Iterator[Finding]:
    """This host's clock agrees with the servers'."""
    for name, difference in bench.clocks.items():
        try:
            yield _judge_clock(name, difference())
        except EdgeAgentError as error:
            yield failed("clock", str(error))


def _judge_clock(name: str, ahead: float) -> Finding:
    if abs(ahead) > SKEW_SECONDS:
        text = f"{name} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's clock"
        return doubtful("clock", text, "switch on time synchronization (systemd-timesyncd or chrony)")
    return good("clock", f"{name} agrees within {SKEW_SECONDS:g} s")


def _try(check: str, attempt: Callable[[], None], message: str) -> Finding:
    try:
        attempt()
    except EdgeAgentError as error:
        return failed(check, str(error))
    return good(check, message)


def _test_key() -> str:
    """Return a new key that is never taken for a job's: no submission id begins with "~"."""
    return f"~doctor/{secrets.token_hex(8)}"


def _try_records(check: str, make: Callable[[], RecordStore]) -> Finding:
    key = _test_key()
    try:
        records = make()
        created, again = records.put(key, TEST_BODY, create=True), records.put(key, OTHER_BODY, create=True)
        found = records.get(key)
        records.delete(key)
        left = records.get(key)
    except EdgeAgentError as error:
        return failed(check, str(error))
    return _judge(check, created=created, again=again, found=found is not None, left=left is not None)


def _judge(check: str, *, created: bool, again: bool, found: bool, left: bool) -> Finding:
    if not created or not found:
        return failed(check, "a test record that was written cannot be read", "the store loses writes: use another one")
    if again:
        remedy = "use a store that honours If-None-Match"
        return doubtful(check, "conditional writes are ignored: two hosts may run one job", remedy)
    if left:
        return failed(check, "a test record cannot be deleted", "give the credentials the right to delete")
    return good(check, "written once, read and deleted")
