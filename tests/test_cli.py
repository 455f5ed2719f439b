"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from smolmon import __version__
from smolmon.cli import COMMANDS, cli

NEEDS = {
    "setup": [],
    "verify": [],
    "check": [],
    "exporter": ["--node", "x"],
    "render": ["out"],
    "up": [],
}


def test_help_lists_every_command_with_its_own_words() -> None:
    runner = CliRunner()
    listing = runner.invoke(cli, ["--help"]).output
    context = click.Context(cli)
    for name, (_, _, words) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert words in listing
        assert command.get_short_help_str(200).startswith(words.rstrip("."))


def test_help_imports_no_command() -> None:
    """`smolmon --help` stays quick because it loads nothing that it lists."""
    script = (
        "import sys; from smolmon.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith('smolmon.') and m != 'smolmon.cli'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"smolmon, version {__version__}\n"


@pytest.mark.parametrize("command", sorted(NEEDS))
def test_a_broken_cluster_file_is_one_line_and_exit_2(command: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("cluster: x\nserver: {node: a}\nnodes: {}\nsegments: [\n")
    args = [command, *NEEDS[command], "--cluster", str(broken)]
    done = subprocess.run(
        [sys.executable, "-m", "smolmon", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{broken}:")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == ["broken.yaml"]


def test_cluster_file_is_found_here_first_then_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = Path(__file__).parents[1] / "examples" / "guide.yaml"
    other = Path(__file__).parents[1] / "examples" / "switch.yaml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOLMON_CLUSTER", str(other))
    assert "switch: 5 nodes" in CliRunner().invoke(cli, ["check"]).output
    (tmp_path / "cluster.yaml").write_text(guide.read_text())
    assert "guide: 6 nodes" in CliRunner().invoke(cli, ["check"]).output
