"""`smolmon init`: a first cluster file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from smolmon.cluster import ClusterError, parse
from smolmon.cluster.picture import draw
from smolmon.cluster.rules import warnings_of
from smolmon.setup.init import smolcluster
from smolmon.setup.init.draft import Draft
from smolmon.setup.init.guess import draft_of
from smolmon.setup.init.interview import interview
from smolmon.setup.init.smolcluster import SourceError
from smolmon.setup.init.text import text_of
from smolmon.setup.init.write import WriteError, check_target, write

T = TypeVar("T")


@click.command()
@click.argument("file", metavar="[FILE]", default="cluster.yaml")
@click.option(
    "--from",
    "sources",
    metavar="PATH",
    multiple=True,
    help="A nodes.yaml or cluster_config_*.yaml of SmolCluster; repeatable. Nothing is asked.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def init(file: str, sources: tuple[str, ...], force: bool) -> None:
    """Write a first cluster file.

    Asks what the cluster consists of, with the network guide's address plan as defaults; or takes
    what SmolCluster's own files know, and marks what they do not with TODO. FILE is
    ./cluster.yaml unless told otherwise.

    Exit code: 0 written and valid, 1 written with problems that are listed, 2 not written.
    """
    path = Path(file)
    try:
        check_target(path, force=force)
        if sources:
            _spare_sources(path, sources)
            draft = draft_of([smolcluster.load(Path(source)) for source in sources])
        else:
            draft = _asked(path)
        text = text_of(draft)
        write(path, text, force=force)
    except (WriteError, SourceError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    sys.exit(_summary(path, text, draft))


def _spare_sources(path: Path, sources: tuple[str, ...]) -> None:
    """`--force --from a b` would write over b: refuse to replace what is SmolCluster's."""
    if not path.exists():
        return
    try:
        smolcluster.load(path)
    except SourceError:
        return
    given = " ".join(f"--from {shlex.quote(s)}" for s in (*sources, str(path)))
    raise WriteError(f"{path}: is SmolCluster's own; did you mean `smolmon init {given}`?")


def _asked(path: Path) -> Draft:
    if not sys.stdin.isatty():
        click.echo(
            "there is no terminal to ask on; name SmolCluster's files with --from PATH, or copy "
            "examples/guide.yaml",
            err=True,
        )
        sys.exit(2)
    click.echo(f"Enter takes what stands in [brackets]; Ctrl-C ends without writing {path}.")
    try:
        return interview(_ask, lambda heading: click.secho(f"\n{heading}", bold=True))
    except click.Abort as abort:
        click.echo("\nnothing was written", err=True)
        # click makes the same of Ctrl-C and of an input that ends.
        sys.exit(130 if isinstance(abort.__context__, KeyboardInterrupt) else 1)


def _ask(question: str, default: str, check: Callable[[str], T]) -> T:
    def checked(text: str) -> T:
        try:
            return check(text.strip())
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    value: T = click.prompt(f"  {question}", default=default, value_proc=checked)
    return value


def _summary(path: Path, text: str, draft: Draft) -> int:
    """Say what was written, what is open, and what comes next; the exit code."""
    click.echo(f"wrote {path}")
    for remark in draft.remarks:
        click.echo(f"  {remark}")
    for number, line in enumerate(text.splitlines(), 1):
        _, todo, words = line.partition("# TODO: ")
        if todo:
            click.echo(f"{path}:{number}: TODO: {words}")
    try:
        cluster = parse(text, str(path))
    except ClusterError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        click.echo("edit these lines until `smolmon check` finds nothing", err=True)
        return 1
    for drawn in draw(cluster):
        click.echo(str(drawn))
    for key, message in warnings_of(cluster):
        click.echo(f"warning: {key}: {message}")
    told = "" if path == Path("cluster.yaml") else f" --cluster {shlex.quote(str(path))}"
    click.echo(f"next: look it over, then `smolmon check{told}` and `smolmon setup --plan{told}`")
    return 0
