"""`edge-agent explain JOB`: whether a job fits this host, or a recorded one, requirement by requirement."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from agent.adapters.host import RecordedHost
from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.cli.stores import find_job
from agent.cli.submit import read_text
from agent.config import Config
from agent.explain import explain as explain_rows
from agent.explain import summary
from agent.ledger import Ledger
from agent.matching import candidate_archs, examine, match
from agent.model.capabilities import Capabilities
from agent.model.job import Job
from agent.model.share import Share
from agent.probes import probe_host
from agent.wire import read_job_file
from agent.wiring import Stores, free_disk, match_policy, probe, share_of


@click.command()
@click.argument("job", metavar="JOB|JOB.toml|-")
@click.option("--queue", metavar="NAME", help="Look for the job in this queue only.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Ask for the recorded host in DIR (see `probe --record`) instead of this one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explain(ctx: click.Context, job: str, queue: str | None, root: Path | None, as_json: bool) -> None:
    """Say whether this host, when it is empty, can run a submitted JOB or the one in JOB.toml, and what is missing.

    With - the job is read from standard input. A recorded host is taken as if the whole of it, but for the reserves of
    this configuration, were the agent's, and under this configuration's policy. Exit code 0 when it can, 1 when not.
    """
    config = config_from(ctx).config
    wanted = _job(config, job, queue)
    policy = match_policy(config)
    profile, share, disk = _this_host(config) if root is None else _recorded_host(config, root)
    images = Stores(config).images(profile)
    free = Ledger(share, lambda: disk).free()
    found = {}
    for arch in candidate_archs(wanted, profile, policy):
        image = wanted.image_for(arch)
        if image is not None:
            found[arch] = images.facts(image)
    verdict = match(wanted, profile, share, free, found, policy)
    rows = explain_rows(examine(wanted, profile, share, free, found, policy))
    if as_json:
        print_json(
            {"standing": verdict.standing.value, "arch": verdict.arch, "requirements": msgspec.to_builtins(rows)}
        )
    else:
        table = [("ok" if row.ok else "NO", row.requirement, row.host_has, row.remedy) for row in rows]
        has = "this host has" if root is None else "that host has"
        print_table("", ("", "the job needs", has, "remedy"), table)
        click.echo(summary(verdict))
    ctx.exit(0 if verdict.accepted else 1)


def _this_host(config: Config) -> tuple[Capabilities, Share, int]:
    """Return the profile, the agent's share, and the bytes that are free on disk."""
    profile = probe(config)
    return profile, share_of(config, profile), free_disk(config)


def _recorded_host(config: Config, root: Path) -> tuple[Capabilities, Share, int]:
    profile = probe_host(RecordedHost(root))
    whole = msgspec.structs.replace(config.resources, cpus=None, memory=None, disk=None)
    share = share_of(msgspec.structs.replace(config, resources=whole), profile)
    return profile, share, max(0, (profile.storage.free_bytes or 0) - whole.disk_reserve)


def _job(config: Config, job: str, queue: str | None) -> Job:
    if job == "-" or job.endswith(".toml") or "/" in job:
        return read_job_file(*read_text(job))
    client, view = find_job(config, job, queue)
    return client.job(view.sid)
