"""What README and docs tell people to type exists, and what they link to is there."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from attrs import frozen

from smolmon.cluster import parse
from smolmon.commands.reference import contexts
from smolmon.lab import demo, matrix_run
from smolmon.lab.faults import FAULTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SCRIPTS = {"scripts/demo": demo.main, "scripts/fault-matrix": matrix_run.main}
COMMANDS = {context.command_path: context for context in contexts()}
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINE = re.compile(r"(?:^|-- |\$ )((?:\.venv/bin/)?smolmon(?: [^|#&;>\n]*)?)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")


def said(page: Path, line: re.Pattern[str] = LINE) -> list[str]:
    """The `smolmon` commands of a page, outside generated help."""
    if page.name == "commands.md":
        return []
    text = page.read_text()
    spans = [span.replace("\n", " ") for _, span in SPAN.findall(BLOCK.sub("", text))]
    return [found.strip() for one in (*BLOCK.findall(text), *spans) for found in line.findall(one)]


def scripted(page: Path) -> list[str]:
    """The commands of a page that run a script of ours whose options click knows."""
    return said(page, re.compile(rf"^((?:{'|'.join(SCRIPTS)})\b[^|#&;>\n]*)", re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page: Path) -> None:
    for text in said(page):
        words = shlex.split(text.replace("'", ""))
        context = COMMANDS["smolmon"]
        rest = words[1:]
        while isinstance(context.command, click.Group) and rest:
            for name in rest[0].split("|"):
                if not name.startswith(("-", "...")):
                    assert f"{context.command_path} {name}" in COMMANDS, f"{page.name}: {text}"
            path = f"{context.command_path} {rest[0].split('|')[0]}"
            if path not in COMMANDS:
                break
            context, rest = COMMANDS[path], rest[1:]
        known = {
            one for p in context.command.get_params(context) for one in (*p.opts, *p.secondary_opts)
        }
        if "--" in rest:
            rest = rest[: rest.index("--")]
        for word in rest:
            option = word.strip("[]").split("=")[0].rstrip(",.:")
            if option.startswith("-"):
                assert option in known, f"{page.name}: `{text}`: there is no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for path, anchor in LINK.findall(text):
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_takes_what_a_page_gives_it(page: Path) -> None:
    for text in scripted(page):
        program, *words = shlex.split(text)
        try:
            SCRIPTS[program].make_context(program, words)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: `{text}`: {error.format_message()}")


def test_commands_are_found_in_the_pages() -> None:
    assert len({text for page in PAGES for text in said(page)}) > 20
    assert {text.split()[0] for page in PAGES for text in scripted(page)} == SCRIPTS.keys()


# -- every command of a code block is run, or is marked --------------------------------------------

FENCE = re.compile(
    r"^(?:[ ]*<!-- (?P<mark>run by|needs hardware:) (?P<what>[^\n]*) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
GUIDE = (ROOT / "examples" / "guide.yaml").read_text(encoding="utf-8")
# What people have in their folder; SmolCluster's own files in short.
FILES = {
    "cluster.yaml": GUIDE,
    "attic.yaml": GUIDE.replace("cluster: guide", "cluster: attic"),
    "cellar.yaml": GUIDE.replace("cluster: guide", "cluster: cellar"),
    "nodes.yaml": "nodes:\n  - {alias: mini1, ip: 10.10.0.1, user: me}\n"
    "  - {alias: mini2, ip: 10.10.0.2, user: me}\n",
    "cluster_config_syncps.yaml": "host_ip: {mini1: 10.10.0.1, mini2: 10.10.0.1}\nport: 65432\n"
    "server: mini1\nworkers: {regular: [{hostname: mini2, rank: 1}]}\n",
}


@frozen
class Block:
    """The commands of a code block, and its mark, if it has one."""

    page: str
    commands: tuple[str, ...]
    mark: str
    what: str

    def __str__(self) -> str:
        return f"{self.page}: {self.commands[0]}"


def blocks() -> Iterator[Block]:
    """In `sh` blocks each line is a command; in others, what follows a prompt."""
    for page in PAGES:
        for found in FENCE.finditer(page.read_text(encoding="utf-8")):
            lines = [line.strip() for line in found["text"].splitlines() if line.strip()]
            if found["language"] != "sh":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            if lines:
                yield Block(page.name, tuple(lines), found["mark"] or "", found["what"] or "")


BLOCKS = tuple(blocks())


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.mark], ids=str)
def test_a_command_without_a_mark_works_as_printed(block: Block, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name, text in FILES.items():
        if not (name == "cluster.yaml" and any("smolmon init" in c for c in block.commands)):
            (here / name).write_text(text, encoding="utf-8")
    # Clones this checkout, wherever the page says it is; every other setting is the printed one.
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/smolmon/smolmon",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
        "SMOLMON_CACHE": os.environ.get("SMOLMON_CACHE")
        or str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smolmon"),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
    }
    (here / "commands").write_text("\n".join(block.commands), encoding="utf-8")
    done = subprocess.run(  # on a terminal, as people are
        ["script", "-qec", "bash -eu commands", "/dev/null"],
        cwd=here,
        input="\n" * 100,  # who is asked presses Enter
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


# What a test adds where a person chooses, or answers.
BY_HAND = {"--cluster", "-c", "--file", "--interval", "--json", "--port", "--yes"}


def called(file: Path) -> Iterator[list[str]]:
    """The words of each command line in a test or a script, less what is no constant there."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield from (line.split() for line in text.splitlines() if not line.startswith("#"))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            # Of run(["smolmon", "check"], cwd=...) the list comes by itself.
            yield [word for one in node.args for word in constants(one)]
        elif isinstance(node, ast.List | ast.Tuple):
            yield [word for one in node.elts for word in constants(one)]


def constants(node: ast.expr) -> list[str]:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
    return [word for text in texts if isinstance(text, str) for word in text.split()]


def runs(command: str, words: list[str]) -> bool:
    """Whether `words` are those of a command line that runs `command`, as far as they are known."""
    program, *printed = shlex.split(command, comments=True)
    if program.startswith("scripts/"):
        return words[: len(printed) + 1] in ([program, *printed], [program]) or (
            words[:2] == ["exec", program]
        )
    path = list(itertools.takewhile(re.compile("[a-z][a-z-]*").fullmatch, printed))
    wanted = Counter(word for word in printed if word.startswith("-"))
    for place in range(len(words)):
        if place and not words[place - 1].endswith("smolmon"):
            continue
        rest = words[place + len(path) :]
        given = Counter(word for word in rest if re.match("-[a-z-]", word))
        if words[place : place + len(path)] == path and wanted <= given:
            return (given - wanted).keys() <= BY_HAND
    return False


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark == "run by"], ids=str)
def test_a_command_that_another_test_runs_is_in_there(block: Block) -> None:
    found = [words for name in block.what.split() for words in called(ROOT / name)]
    for command in block.commands:
        assert any(runs(command, words) for words in found), (
            f"{block.what}: not in there: {command}"
        )


def test_a_command_that_a_test_does_not_run_would_be_noticed(tmp_path: Path) -> None:
    test = tmp_path / "test_some.py"
    test.write_text('run("exec", "n", "--", "smolmon", "setup", "--plan", *more)\n')
    (words,) = called(test)
    assert runs("smolmon setup --plan  # shows", words)
    assert not runs("smolmon setup", words)  # to show is not to do
    assert not runs("smolmon setup --remove", words)
    assert not runs("smolmon verify", words)
    assert runs("scripts/test tests -q", ["exec", "scripts/test"])
    assert not runs("scripts/demo", ["exec", "scripts/test"])


def test_commands_are_told_from_what_they_print() -> None:
    assert {b.mark for b in BLOCKS} == {"", "run by", "needs hardware:"}
    assert all(b.what for b in BLOCKS if b.mark)
    for page in PAGES:
        for found in FENCE.finditer(page.read_text(encoding="utf-8")):
            if found["language"] == "" and page.name != "commands.md":
                told = re.findall(r"^(?:smolmon|scripts/\w+|\.venv/\S+) ", found["text"], re.M)
                assert not told, f"{page.name}: a block with commands must begin with ```sh: {told}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_writes_into_a_cluster_file_is_valid(page: Path) -> None:
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        text = found["text"]
        quoted = any(text == quote for _, _, quote in QUOTES)
        if found["language"] != "yaml" or "tls_server_config" in text or quoted:
            continue
        if not re.match("cluster:|monitor:|notify:", text):
            text = "notify:\n  receivers:\n" + re.sub("^", "    ", text, flags=re.MULTILINE)
        parse(text if text.startswith("cluster:") else f"{GUIDE}\n{text}", page.name)


def test_every_fault_that_a_page_breaks_exists() -> None:
    known = {fault.name for fault in FAULTS}
    for page in PAGES:
        said = re.findall(r"lab\s+break\s+([a-z][a-z-]+)", page.read_text(encoding="utf-8"))
        assert set(said) <= known, page.name


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / path).resolve()
        for page in PAGES
        for path, _ in LINK.findall(page.read_text(encoding="utf-8"))
        if path
    }
    assert {page for page in PAGES if page.parent.name == "docs"} <= linked


# -- what a page quotes ------------------------------------------------------------------------

QUOTED = re.compile(r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTES = [(page, *found) for page in PAGES for found in QUOTED.findall(page.read_text("utf-8"))]


def stands_in(quote: str, text: str) -> bool:
    """Whether the parts of `quote` between lines of `...` are lines of `text`, in that order."""
    place = 0
    text = f"\n{text}"
    for part in re.split(r"^ *\.\.\.\n", quote, flags=re.MULTILINE):
        place = text.find(f"\n{part}", place)
        if place < 0:
            return False
        place += len(part)
    return True


@pytest.mark.parametrize(
    ("page", "file", "quote"), QUOTES, ids=[f"{page.name}: {file}" for page, file, _ in QUOTES]
)
def test_what_a_page_quotes_is_in_the_file(page: Path, file: str, quote: str) -> None:
    assert stands_in(quote, (ROOT / file).read_text("utf-8")), f"{page.name}: {file} is different"


def test_a_quote_that_is_not_there_would_be_noticed() -> None:
    assert {"alerts", "dashboards", "exporter", "lab"} <= {
        file.split("/")[0] for _, file, _ in QUOTES
    }
    assert stands_in("a\n  ...\nd\n", "a\nb\nc\nd\n")
    assert not stands_in("d\n...\na\n", "a\nb\nc\nd\n")
    assert not stands_in("b\nd\n", "a\nb\nc\nd\n")
    assert not stands_in("b\n", "ab\n")
