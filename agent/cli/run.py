"""`edge-agent run`: the agent itself."""

from __future__ import annotations

import click

from agent.cli.context import config_from
from agent.model.units import parse_duration


@click.command()
@click.option("--until-empty", is_flag=True, help="Stop when nothing is left in the queues that this host can run.")
@click.option(
    "--patience",
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="With --until-empty: for how long to wait for servers that do not answer; then the exit code is 3.",
)
@click.option("--service", is_flag=True, help="On SIGTERM leave running jobs to the next agent instead of ending them.")
@click.option("--no-holder", is_flag=True, help="Start no holder of the jobs: a service of its own (edge-jobs) is it.")
@click.pass_context
def run(ctx: click.Context, until_empty: bool, patience: str, service: bool, no_holder: bool) -> None:
    """Take jobs from the queues and run them, until stopped.

    Ctrl-C ends the running jobs, saves what they made and gives them back to their queue.
    """
    from agent.logs import setup_logging
    from agent.wiring import run_agent

    config = config_from(ctx).config
    setup_logging(config.agent.log_level, config.agent.log_format)
    ctx.exit(
        run_agent(
            config,
            until_empty=until_empty,
            service=service,
            patience=parse_duration(patience),
            own_holder=not no_holder,
        )
    )
