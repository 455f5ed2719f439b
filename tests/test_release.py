"""What is released: the same bytes each time, and whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smolmon.commands.reference import contexts
from tests.alerts.scenarios import ROOT

KINDS = ("*.whl", "*.tar.gz", "*.pyz")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(c) for c in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def imported(python: Path, *args: str) -> set[str]:
    """The packages that a run imports, but those of Python itself."""
    told = run(python, "-X", "importtime", *args, PYTHONPATH="").stderr
    rows = [line.rpartition("|")[2].strip() for line in told.splitlines()]
    return {name.partition(".")[0] for name in rows} - sys.stdlib_module_names


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run(ROOT / "scripts" / "release", folder)
    return folder


def test_a_second_build_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    # At another time, in another zone, by somebody with other habits.
    script = f'umask 077; exec "{ROOT}/scripts/release" "{tmp_path}"'
    run("bash", "-c", script, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7")
    for kind in KINDS:
        (first,), (second,) = built.glob(kind), tmp_path.glob(kind)
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()
    run("sh", "-c", f"cd {built} && sha256sum --check --strict SHA256SUMS")


@pytest.mark.parametrize(
    ("kind", "by"), [("*.whl", "uv"), ("*.whl", "pip"), ("*.tar.gz", "uv")], ids=" ".join
)
def test_it_works_in_an_empty_environment(built: Path, tmp_path: Path, kind: str, by: str) -> None:
    (package,) = built.glob(kind)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(os.environ.get("SMOLMON_CACHE") or Path(cache) / "smolmon") / "uv/bin/uv"
    uv = shutil.which(str(kept)) or shutil.which("uv")
    assert uv, "no uv: run scripts/bootstrap"
    if by == "uv":
        run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
        run(uv, "pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python", package)
    else:
        run(sys.executable, "-m", "venv", tmp_path / "venv")
        run(tmp_path / "venv/bin/pip", "install", "--quiet", package)

    def smolmon(*args: str) -> str:
        """From elsewhere, so that this checkout is not found."""
        command = f'cd "{tmp_path}" && exec venv/bin/smolmon "$@"'
        return run("sh", "-c", command, "sh", *args, PYTHONPATH="").stdout

    assert "Provision" in smolmon("--help")
    # It is there at once, since it imports no package but one.
    python = tmp_path / "venv/bin/python"
    needed = imported(python, "-m", "smolmon", "--help") - imported(python, "-c", "pass")
    assert needed == {"click", "smolmon"}
    # Each imports what it needs, which is the same however it was installed.
    for context in contexts() if (kind, by) == ("*.whl", "uv") else ():
        words = context.command_path.split()[1:]
        assert smolmon(*words, "--help").startswith(f"Usage: {context.command_path}")
    # What setup brings to the nodes is made of what was installed, however that was done.
    build = "from smolmon.setup.agent import build; print(build()[:2])"
    assert run(tmp_path / "venv/bin/python", "-I", "-c", build).stdout == "b'#!'\n"
    example = str(ROOT / "examples" / "guide.yaml")
    assert "6 nodes" in smolmon("check", "--cluster", example)
    written = smolmon("render", "out", "--cluster", example).split()
    for name in ("prometheus/rules/routes.yml", "dashboards/smolmon/home.json", "tls/guide"):
        assert any(name in path for path in written), name
    module = "import smolmon.compose as c; print(c.__path__[0])"
    where = run(tmp_path / "venv/bin/python", "-I", "-c", module).stdout.strip()
    assert (Path(where) / "docker-compose.yml").read_bytes() == (
        ROOT / "docker-compose.yml"
    ).read_bytes()
