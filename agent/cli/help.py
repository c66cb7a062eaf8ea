"""`edge-agent help [TOPIC]`: the pages in agent/docs, also where there is no internet."""

from __future__ import annotations

import sys
from importlib.resources import files

import click

from agent.cli.output import print_json, print_table
from agent.errors import InvalidInput, nearest


@click.command(name="help")
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def help_(ctx: click.Context, topic: str | None, as_json: bool) -> None:
    """Read the page about TOPIC; without a topic, list the topics."""
    pages = read_pages()
    if topic is None:
        _list(pages, as_json)
    elif topic not in pages:
        raise InvalidInput(f'no page about "{topic}"', hint=nearest(topic, pages))
    elif as_json:
        print_json({"topic": topic, "text": pages[topic]})
    elif sys.stdout.isatty():
        click.echo_via_pager(pages[topic])
    else:
        click.echo(pages[topic], nl=False)


def read_pages() -> dict[str, str]:
    """Return the pages that come with the agent: topic -> text."""
    found = [page for page in files("agent").joinpath("docs").iterdir() if page.name.endswith(".md")]
    return {page.name.removesuffix(".md"): page.read_text("utf-8") for page in sorted(found, key=lambda p: p.name)}


def _list(pages: dict[str, str], as_json: bool) -> None:
    titles = {topic: text.partition("\n")[0].lstrip("# ") for topic, text in pages.items()}
    if as_json:
        print_json(titles)
    else:
        print_table("", ("topic", "page"), titles.items())
