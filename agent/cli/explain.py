"""`edge-agent explain JOB`: whether a job fits this host, requirement by requirement."""

from __future__ import annotations

import click
import msgspec

from agent.cli.context import config_from
from agent.cli.output import print_json, print_table
from agent.cli.stores import find_job
from agent.cli.submit import read_text
from agent.config import Config
from agent.explain import explain as explain_rows
from agent.explain import summary
from agent.ledger import Ledger
from agent.matching import candidate_archs, examine, match
from agent.model.job import Job
from agent.wire import read_job_file
from agent.wiring import Stores, free_disk, match_policy, probe, share_of


@click.command()
@click.argument("job", metavar="JOB|JOB.toml|-")
@click.option("--queue", metavar="NAME", help="Look for the job in this queue only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explain(ctx: click.Context, job: str, queue: str | None, as_json: bool) -> None:
    """Say whether this host, when it is empty, can run a submitted JOB or the one in JOB.toml, and what is missing.

    With - the job is read from standard input. Exit code 0 when it can, 1 when not.
    """
    config = config_from(ctx).config
    wanted = _job(config, job, queue)
    profile, policy, images = probe(config), match_policy(config), Stores(config).images
    share = share_of(config, profile)
    free = Ledger(share, lambda: free_disk(config)).free()
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
        print_table("", ("", "the job needs", "this host has", "remedy"), table)
        click.echo(summary(verdict))
    ctx.exit(0 if verdict.accepted else 1)


def _job(config: Config, job: str, queue: str | None) -> Job:
    if job == "-" or job.endswith(".toml") or "/" in job:
        return read_job_file(*read_text(job))
    client, view = find_job(config, job, queue)
    return client.job(view.sid)
