"""What README and docs tell people to type exists, and what they link to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from smolmon.commands.reference import contexts

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = {context.command_path: context for context in contexts()}
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINE = re.compile(r"(?:^|-- |\$ )((?:\.venv/bin/)?smolmon(?: [^|#&;>\n]*)?)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")


def said(page: Path) -> list[str]:
    """The `smolmon` commands of a page, outside generated help."""
    if page.name == "commands.md":
        return []
    text = page.read_text()
    spans = [span.replace("\n", " ") for span in SPAN.findall(BLOCK.sub("", text))]
    return [found.strip() for one in (*BLOCK.findall(text), *spans) for found in LINE.findall(one)]


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


def test_commands_are_found_in_the_pages() -> None:
    assert len({text for page in PAGES for text in said(page)}) > 20
