"""`edge-agent doctor`: whether this host can do its work, and what to do if not."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from agent import wiring
from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.servertime import clock_difference
from agent.board import Mode
from agent.checks import examine
from agent.checks.finding import Bench
from agent.cli.context import config_from
from agent.cli.output import print_json
from agent.config import Config, Queue
from agent.config.places import Bucket
from agent.control.client import ask
from agent.control.protocol import Status
from agent.errors import AgentUnreachable, HostFault
from agent.model.capabilities import Capabilities, Problem
from agent.pubsub_plan import LANES, PLAIN, is_pubsub

AWS = "https://s3.amazonaws.com"
GOOGLE = "https://pubsub.googleapis.com"
MARKS = {"ok": "ok      ", "warning": "warning ", "failure": "FAILURE "}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check everything that this host needs to take, run and deliver jobs. Exit code 1 when a check fails."""
    # What the stores would log is among the findings.
    logging.getLogger("agent").addHandler(logging.NullHandler())
    findings = []
    for finding in examine(bench(config_from(ctx).config)):
        findings.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.status]}{finding.check}: {finding.message}")
            if finding.remedy:
                click.echo(f"{'':8}remedy: {finding.remedy}")
    if as_json:
        print_json(findings)
    ctx.exit(1 if any(finding.status == "failure" for finding in findings) else 0)


def bench(config: Config) -> Bench:
    """Return what the checks may touch of this host and its servers; nothing is asked yet but this host."""
    stores, profile = wiring.Stores(config), wiring.probe(config)
    lanes = (*wiring.lanes_of(config, profile), PLAIN)
    in_stores = [queue for queue in config.queues if not is_pubsub(queue.url)]
    elsewhere = [queue for queue in config.queues if is_pubsub(queue.url)]
    return Bench(
        state_dir=config.state_dir,
        host=wiring.live_host(config),
        profile=profile,
        prepare=partial(wiring.prepare_state_dir, config),
        free_disk=partial(wiring.free_disk, config),
        canary=partial(_run_container, config),
        artifacts=lambda: stores.artifacts,
        records={queue.name: partial(stores.records, queue) for queue in in_stores},
        queues={queue.name: partial(_try_rights, stores, queue, lanes) for queue in elsewhere},
        results={queue.name: partial(stores.result_records, queue) for queue in config.queues},
        results_roots={queue.name: queue.results_root.as_uri() for queue in config.queues},
        store_problems=partial(_problems, stores),
        broker=None if config.mqtt.url is None else partial(_try_broker, config, profile),
        clocks=_clocks(config),
        emulate=config.runtime.emulate,
        mode=partial(_mode, config),
        trusted=config.studioml.trusted,
    )


def _run_container(config: Config) -> str:
    """Run the canary beside the attempts of the agent, which may be running, not among them; return its log."""
    try:
        place = Path(tempfile.mkdtemp(prefix="doctor-", dir=config.state_dir))
    except OSError as error:
        raise HostFault(f"{config.state_dir}: {error.strerror}") from None
    runtime = ApptainerRuntime(place, lambda: wiring.runtime_path(config))
    try:
        return wiring.run_trial(config, runtime, place)
    finally:
        runtime.end()
        shutil.rmtree(place, ignore_errors=True)


def _mode(config: Config) -> Mode | None:
    """Return the mode of the agent that runs here, None when none answers."""
    try:
        return ask(config.state_dir, Status()).mode
    except AgentUnreachable:
        return None


def _problems(stores: wiring.Stores) -> Sequence[Problem]:
    stores.test()
    return stores.problems()


def _try_rights(stores: wiring.Stores, queue: Queue, served: Sequence[str]) -> None:
    lanes = LANES if queue.lanes == ("*",) else queue.lanes or served
    admin = stores.admin(queue, lanes)
    if admin is not None:
        admin.check()


def _try_broker(config: Config, profile: Capabilities) -> None:
    broker = wiring.broker_of(config)
    if broker is None:
        return
    from agent.adapters.mqtt import check_broker

    check_broker(broker, profile.host.id or "doctor")


def _clocks(config: Config) -> dict[str, Callable[[], float]]:
    """Return the clocks that decide something: S3 and Google refuse requests of hosts with another time."""
    found: dict[str, Callable[[], float]] = {}
    if any(isinstance(queue.results_root, Bucket) for queue in config.queues):
        url = config.s3.endpoint or AWS
        found[url] = partial(clock_difference, url, config.s3.ca_file, config.s3.ca)
    emulated = config.pubsub.endpoint is not None or "PUBSUB_EMULATOR_HOST" in os.environ
    if not emulated and any(is_pubsub(queue.url) for queue in config.queues):
        found[GOOGLE] = partial(clock_difference, GOOGLE)
    return found
