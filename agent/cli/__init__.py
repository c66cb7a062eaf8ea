"""The command `edge-agent`: a table of commands whose modules are imported only when they are used."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import __version__
from agent.errors import EdgeAgentError, nearest

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


class Entry(NamedTuple):
    """Where a command is ("module:function") and its line in `edge-agent --help`."""

    target: str
    help: str


COMMANDS = {
    "cancel": Entry("agent.cli.cancel:cancel", "End a job, wherever it is."),
    "config": Entry("agent.cli.config:config", "Check or show the configuration."),
    "dead-letter": Entry("agent.cli.dead_letter:dead_letter", "List, show, requeue or drop dead letters."),
    "decode": Entry("agent.cli.decode:decode", "Show what becomes of a message."),
    "demo": Entry("agent.cli.demo:demo", "Try everything once on this machine."),
    "doctor": Entry("agent.cli.doctor:doctor", "Check what this host needs to do its work."),
    "drain": Entry("agent.cli.mode:drain", "Take no new jobs; let the running ones end."),
    "explain": Entry("agent.cli.explain:explain", "Say whether a job fits a host, and why not."),
    "fleet": Entry("agent.cli.fleet:fleet", "List the hosts seen on the broker."),
    "help": Entry("agent.cli.help:help_", "Read the pages about a topic."),
    "jobs": Entry("agent.cli.jobs:jobs", "List jobs: waiting, running, ended."),
    "lab": Entry("agent.cli.lab:lab", "Run the servers of a lab without internet on this machine."),
    "logs": Entry("agent.cli.logs:logs", "Print what a job wrote."),
    "pause": Entry("agent.cli.mode:pause", "Take no new jobs for now."),
    "probe": Entry("agent.cli.probe:probe", "Show what this host is and has."),
    "prune": Entry("agent.cli.prune:prune", "Remove results that are older than a given time."),
    "queue": Entry("agent.cli.queue:queue", "Make the stores of a queue."),
    "results": Entry("agent.cli.results:results", "Fetch what a job left."),
    "resume": Entry("agent.cli.mode:resume", "Take jobs again."),
    "run": Entry("agent.cli.run:run", "Run the agent in the foreground."),
    "status": Entry("agent.cli.status:status", "Show what the agent or a job is doing."),
    "submit": Entry("agent.cli.submit:submit", "Put a job into a queue."),
    "support-bundle": Entry(
        "agent.cli.support_bundle:support_bundle", "Pack what is needed to help from afar, without secrets."
    ),
    "version": Entry("agent.cli.version:version", "Show versions of everything that matters."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None when there is none of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, function = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one is nearest."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f'no command "{args[0]}" ({nearest(args[0], COMMANDS)})', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in sorted(COMMANDS)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away (`| head`) ends it quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s", prog_name="edge-agent")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Not /etc/edge-agent/config.toml but FILE.",
)
@click.option("--state-dir", metavar="DIR", help="Keep everything below DIR.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, state_dir: str | None, log_level: str | None) -> None:
    """Run queued container jobs on this host.

    `edge-agent help` lists the pages to read.
    """
    ctx.meta["agent.config-file"] = config
    ctx.meta["agent.flags"] = {
        "agent.state_dir": state_dir and os.path.abspath(state_dir),  # noqa: PTH100 - Path keeps ".."
        "agent.log_level": log_level,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; every error that is raised on purpose is one line on stderr."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    if code == EXIT_BROKEN_PIPE:
        _discard_output()
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="edge-agent", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except EdgeAgentError as error:
        click.echo(f"edge-agent: {_one_line(error)}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED


def _one_line(error: EdgeAgentError) -> str:
    from agent.redact import mask_text

    return mask_text(" ".join(str(error).splitlines()))


def _discard_output() -> None:
    """Keep the interpreter from flushing into the closed pipe when it ends, which would print an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
