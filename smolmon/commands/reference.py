"""Writes docs/commands.md: what every command says of itself with `--help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from smolmon.cli import cli

FILE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 100  # columns
HEAD = """\
# Commands

What `--help` prints, for every command. Written by `scripts/generate`.

Exit codes: 0 as expected, 1 not as expected, 2 wrong usage or a file that cannot be used (`setup
--plan`: 2 where there is something to do). Trouble is one line on standard error.
"""


def walk(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """The context of a command and of everything below it, in the order of listing."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None  # noqa: S101 - it was listed
            yield from walk(below, click.Context(below, context, name, terminal_width=WIDTH))


def contexts() -> Iterator[click.Context]:
    """Of every command, `smolmon` itself first."""
    top = click.Context(cli, info_name="smolmon", terminal_width=WIDTH, **cli.context_settings)
    return walk(cli, top)


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for context in contexts():
        said = "\n".join(line.rstrip() for line in context.get_help().splitlines())
        parts.append(f"## {context.command_path}\n\n```\n{said}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page; with `--check`, say whether it is up to date."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text())
        return 0
    if FILE.is_file() and FILE.read_text() == text():
        return 0
    sys.stderr.write("docs/commands.md is not what scripts/generate writes: run it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
