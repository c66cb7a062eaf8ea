"""`edge-agent demo`: the whole path of a job, once, on this machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.adapters.local_image import build_image
from agent.cache import remove
from agent.cli.context import config_from
from agent.cli.jobs import why
from agent.cli.output import print_json, print_table
from agent.cli.stores import client
from agent.client import Client, JobView
from agent.config import Config
from agent.config.sections import Queue, embedded_queue
from agent.errors import RuntimeUnavailable, Unavailable
from agent.logs import setup_logging
from agent.model.capabilities import Capabilities
from agent.model.job import Job, parse_job
from agent.model.units import show_size
from agent.wiring import Stores, prepare_state_dir, probe, run_agent, runtime_path, share_of

SCRIPT = 'echo "hello from $(uname -m), job $EDGE_JOB"; mkdir model; echo "0.1 0.2 0.3" > model/weights.txt'
GET_APPTAINER = (
    "no container runtime: neither apptainer nor singularity is on PATH. Get Apptainer with `apt install apptainer` or"
    " `dnf install apptainer`; from a clone of edge-agent, `sudo packaging/install-apptainer.sh` does what is needed"
)


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Work in this directory.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def demo(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Submit three jobs to a queue of their own, run an agent until nothing is left that fits, and show what happened.

    Nothing of a configured agent is touched; without --dir everything is below its state directory, in demo/.
    """
    base = config_from(ctx).config
    program = runtime_path(base)
    if program is None:
        raise RuntimeUnavailable(GET_APPTAINER)
    place = (directory or base.state_dir / "demo").absolute()
    _make(place)
    config = demo_config(base, place)
    prepare_state_dir(config)
    profile = probe(config)
    image = config.images_dir / f"tiny-{profile.cpu.arch}.sif"
    if not as_json:
        _print_host(profile)
    _say(as_json, "image", str(image) if image.exists() else f"{image} (building it from this host's own files)")
    if not image.exists():
        build_image(image, program)
    submitted = client(config, config.queues[0])
    sids = [submitted.submit(job) for job in demo_jobs(image, profile)]
    _say(as_json, "submitted", f"{len(sids)} jobs to {config.queues[0].records_root}")
    _say(as_json, "agent", "runs until nothing is left that this host can run")
    setup_logging("warning", "text")
    code = run_agent(_with_share(config, profile), until_empty=True)
    views = [submitted.find(sid) for sid in sids]
    if as_json:
        print_json({"host": profile.table(), "jobs": views})
    else:
        _print_jobs(config, submitted, views)
    ctx.exit(code or (0 if [view.state for view in views] == ["succeeded", "waiting", "waiting"] else 1))


def _make(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{place}: {error.strerror}; choose another directory with --dir") from None


def demo_config(base: Config, place: Path) -> Config:
    """Return a configuration of its own: a state directory, fresh but for its images, with a queue for nobody else.

    Of the configured agent it has what the machine is like, and nothing that others see or that only one can have.
    """
    state = place / "state"
    config = Config(
        agent=msgspec.structs.replace(base.agent, state_dir=str(state)),
        resources=base.resources,
        runtime=base.runtime,
        limits=base.limits,
        queues=(msgspec.convert(embedded_queue(str(state)), Queue),),
    )
    for left in state.glob("*"):
        if left != config.images_dir:
            remove(left)
    return config


def _with_share(config: Config, profile: Capabilities) -> Config:
    """A share that is spelled out lets the demo's agent run beside one that gives out the whole host."""
    share = share_of(config, profile)
    resources = msgspec.structs.replace(config.resources, cpus=share.cpus, memory=share.memory)
    return msgspec.structs.replace(config, resources=resources)


def demo_jobs(image: Path, profile: Capabilities) -> list[Job]:
    """Return one job that succeeds, one for a CPU that this is not, and one that wants more memory than there is."""
    foreign = "amd64" if profile.cpu.arch == "arm64" else "arm64"
    common: dict[str, Any] = {"command": ["sh", "-c", SCRIPT], "outputs": [{"path": "model"}]}
    small = {"cpus": 0.5, "memory": "64MiB", "disk": "16MiB"}
    huge = {**small, "memory": 2 * (profile.memory.total_bytes or 1024**4)}
    return [
        parse_job({**common, "name": "hello", "image": image.as_uri(), "requires": small}),
        parse_job({**common, "name": "foreign", "image": {foreign: image.as_uri()}, "requires": small}),
        parse_job({**common, "name": "huge", "image": image.as_uri(), "requires": huge}),
    ]


def _say(as_json: bool, what: str, text: str) -> None:
    if not as_json:
        click.echo(f"{what + ':':<11}{text}")


def _print_host(profile: Capabilities) -> None:
    cpu, runtime = profile.cpu, profile.runtime
    models = ", ".join(cpu.models or ()) or "unknown model"
    _say(
        False,
        "host",
        f"{cpu.arch}, {cpu.effective:g} CPUs ({models}), {show_size(profile.memory.effective_bytes)} memory",
    )
    _say(False, "runtime", f"{runtime.name} {runtime.version}, runs images for {', '.join(runtime.archs or ())}")
    for problem in profile.problems:
        _say(False, "problem", f"{problem.message}; {problem.remedy or 'no remedy known'}")


def _print_jobs(config: Config, submitted: Client, views: list[JobView]) -> None:
    rows = [(view.name, view.state, why(view) or "-", _artifact(config, view)) for view in views]
    print_table("", ("job", "state", "why", "artifact"), rows)
    hello = views[0]
    if hello.artifacts:
        click.echo("\nit printed: " + b"".join(submitted.log(hello.sid)).decode(errors="replace").strip())
        # As it was called: after `make demo` the command is on nobody's PATH yet.
        program = "edge-agent" if shutil.which("edge-agent") else sys.argv[0]
        click.echo(f"fetch it:   {program} --state-dir {config.state_dir} results hello --to here")


def _artifact(config: Config, view: JobView) -> str:
    stores = Stores(config)
    results = stores.results(config.queues[0])
    uris = [results.uri_of(artifact) for artifact in view.artifacts if artifact.name != "log"]
    return ", ".join(uris) or "-"
