"""Printing: JSON for programs, tables for people, plain aligned text in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec


def print_json(value: Any) -> None:
    """Print `value` (plain data or msgspec structures) as indented JSON in UTF-8."""
    text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False, allow_nan=False)
    click.echo(text.encode())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below a title: a table on a terminal (no colours where NO_COLOR is set), else aligned text.

    None is shown as "-"; control characters are made visible, for cells may hold what strangers wrote.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(title, columns, cells)
    else:
        click.echo("".join(f"{line}\n" for line in _plain(title, columns, cells)), nl=False)


def because(reason: str | None, by: str | None) -> str:
    """Return what follows the name of a mode: why, and who wanted it."""
    return (f": {reason}" if reason else "") + (f", by {by}" if by else "")


def _cell(value: object) -> str:
    text = "-" if value is None else str(value)
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _plain(title: str, columns: Sequence[str], cells: list[list[str]]) -> list[str]:
    table = [list(columns), *cells]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return [title, *lines] if title else lines


def _print_rich(title: str, columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
