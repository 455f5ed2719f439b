"""The command line as a whole."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from smolmon import __version__
from smolmon.cli import COMMANDS, cli
from smolmon.commands.reference import contexts

# The commands that take a cluster file, and what else they need.
NEEDS = {
    "bandwidth baseline": [],
    "bandwidth run": ["a", "b"],
    "bandwidth schedule": [],
    "check": [],
    "doctor": [],
    "exporter": ["--node", "x"],
    "lab faults": [],
    "lab up": [],
    "notify test": [],
    "render": ["out"],
    "setup": [],
    "status": [],
    "up": [],
    "verify": [],
}
# What these look at before the file: who runs them, and the lab that is up.
BEFORE = {"lab up", "lab faults"}
ROOT = Path(__file__).parents[1]


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


def test_every_command_that_takes_a_cluster_file_is_tried_below() -> None:
    found = [c for c in contexts() if "--cluster" in options_of(c) and not c.command.hidden]
    assert {c.command_path.removeprefix("smolmon ") for c in found} == NEEDS.keys()
    assert all("-c" in options_of(c) for c in found)


def options_of(context: click.Context) -> set[str]:
    return {word for option in context.command.get_params(context) for word in option.opts}


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"smolmon, version {__version__}\n"


@pytest.mark.parametrize("command", sorted(NEEDS.keys() - BEFORE))
def test_a_broken_cluster_file_is_one_line_and_exit_2(command: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("cluster: x\nserver: {node: a}\nnodes: {}\nsegments: [\n")
    args = [*command.split(), *NEEDS[command], "--cluster", str(broken)]
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
    guide = ROOT / "examples" / "guide.yaml"
    other = ROOT / "examples" / "switch.yaml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOLMON_CLUSTER", str(other))
    assert "switch: 5 nodes" in CliRunner().invoke(cli, ["check"]).output
    (tmp_path / "cluster.yaml").write_text(guide.read_text())
    assert "guide: 6 nodes" in CliRunner().invoke(cli, ["check"]).output


def test_an_output_that_takes_no_more_is_one_line() -> None:
    guide = str(ROOT / "examples" / "guide.yaml")
    for args in (["--help"], ["check", "-c", guide], ["bandwidth", "schedule", "-c", guide]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "smolmon", *args],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "smolmon: the output: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("file", "code"), [("guide.yaml", 0), ("none.yaml", 2), ("", 2)])
def test_a_standard_stream_may_be_closed(closed: str, file: str, code: int) -> None:
    words = [sys.executable, "-m", "smolmon", "check", "-c", f"{ROOT}/examples/{file}"]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(words)} {closed}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (code == 0 and ">&-" not in closed.replace("2>&-", ""))


def test_a_folder_that_one_may_not_enter_is_one_line(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    # Root may enter every folder, unless it has put that right down.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    alone = drop if os.geteuid() == 0 else []
    words = [sys.executable, "-m", "smolmon", "check"]
    script = f"cd {shut} && chmod 0 . && exec {shlex.join([*alone, *words])}"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cluster.yaml: cannot be read: Permission denied; name")


@pytest.mark.parametrize("command", ["status --once", "doctor", "bandwidth baseline"])
def test_whom_to_ask_stands_in_the_cluster_file(command: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    monitor = "monitor: {prometheus: 'http://127.0.0.1:7'}\n"
    file.write_text(f"{(ROOT / 'examples' / 'guide.yaml').read_text()}\n{monitor}")
    asked = [*command.split(), "-c", str(file)]
    assert "127.0.0.1:7 refuses" in CliRunner().invoke(cli, asked).output
    other = CliRunner().invoke(cli, [*asked, "--prometheus", "http://127.0.0.1:9"])
    assert "127.0.0.1:9 refuses" in other.output
    wrong = CliRunner().invoke(cli, [*asked, "--prometheus", "nonsense"])
    assert wrong.exit_code == 2
    assert "'nonsense' is not a URL such as http://127.0.0.1:9090" in wrong.output
