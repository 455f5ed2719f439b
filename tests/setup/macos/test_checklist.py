"""The checklist for the owner of a Mac can be carried out as it is written."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import click
import pytest

from smolmon.commands.reference import contexts
from smolmon.exporter import process_macos, system_macos
from smolmon.setup.macos import tools

PAGE = (Path(__file__).parents[3] / "docs" / "macos.md").read_text(encoding="utf-8")
CHECKLIST = PAGE[PAGE.index("## Ten minutes with a Mac") :]
PROGRAM = re.compile(r"/(usr/)?(s?bin|libexec)/\S+")


def test_every_tool_that_is_used_is_looked_for() -> None:
    first = CHECKLIST[CHECKLIST.index("1. **") : CHECKLIST.index("2. **")]
    used = {
        value
        for module in (tools, system_macos, process_macos)
        for value in vars(module).values()
        if isinstance(value, str) and PROGRAM.fullmatch(value)
    }
    assert len(used) > 15
    assert used <= set(re.findall(r"/[\w/]+", first))


def test_the_python_in_it_names_what_there_is() -> None:
    found = re.findall(r"<<'EOF'\n(.*?)^ *EOF$", CHECKLIST, re.MULTILINE | re.DOTALL)
    found += re.findall(r'python -i?c "([^"]+)"', CHECKLIST)
    assert len(found) == 3
    for text in found:
        tree = ast.parse(
            re.sub(r"^   ", "", text, flags=re.MULTILINE).replace("\n   figures", " f")
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                assert all(n.name == "*" or hasattr(module, n.name) for n in node.names)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "mac":
                assert hasattr(system_macos.MacSystem, node.attr)


def test_values_of_options_are_taken() -> None:
    setup = next(c.command for c in contexts() if c.command_path == "smolmon setup")
    option = next(p for p in setup.params if "--confirm-within" in p.opts)
    [said] = re.findall(r"--confirm-within (\d+)", CHECKLIST)
    option.type.convert(said, option, None)
    with pytest.raises(click.BadParameter):
        option.type.convert("30", option, None)


def test_paths_and_labels_are_those_of_setup() -> None:
    for label in re.findall(r"dev\.smolmon\.(\w+)", PAGE):
        assert f"dev.smolmon.{label}" in (*tools.LABELS, "dev.smolmon.nothing")
    known = (*tools.DIRECTORIES, *tools.PATHS, tools.LOG, tools.PF_TOKEN)
    for found in re.findall(r"(?:/opt|/var/db|/var/log)/smolmon[\w./]*", PAGE):
        path = found.rstrip("./")
        assert path in known or path.startswith(f"{tools.STATE}/rollback"), path
    assert tools.ANCHOR in CHECKLIST
