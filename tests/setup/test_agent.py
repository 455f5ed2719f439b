"""The agent: the same bytes from the same sources, and a program that runs by itself."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from smolmon.setup import agent
from tests.setup.material import ROOT


def test_it_holds_what_smolmon_depends_on_but_for_what_only_the_controller_needs():
    text = (ROOT / "pyproject.toml").read_text()
    # A TOML list of strings is a Python one; tomllib is not in Python 3.10.
    declared = ast.literal_eval(re.search(r"(?ms)^dependencies = (\[.*?^\])", text)[1])
    names = {re.match(r"[\w.-]+", one)[0] for one in declared}
    assert set(agent.DEPENDENCIES) == names - {"cryptography", "grafanalib", "rich"}


@pytest.fixture(scope="module")
def built() -> bytes:
    return agent.build()


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_the_same_sources_make_the_same_bytes(built):
    assert agent.build() == built


def test_it_holds_what_the_exporter_needs_and_nothing_more(built):
    held = names(built)
    assert held == sorted(set(held))
    assert {"__main__.py", "smolmon/cli.py", "smolmon/cluster/derive.py"} <= set(held)
    assert {"smolmon/exporter/__init__.py", "smolmon/commands/exporter.py"} <= set(held)
    packages = {name.split("/")[0] for name in held}
    assert {"attr", "click", "icmplib", "iperf3", "prometheus_client", "pyroute2", "yaml"} <= {
        name.removesuffix(".py") for name in packages
    }
    rest = [n for n in held if n.startswith("smolmon/")]
    assert not any(n.startswith(("smolmon/setup", "smolmon/lab", "smolmon/alerts")) for n in rest)
    assert not any(part in ("tests", "__pycache__") for n in held for part in n.split("/"))
    assert not any(n.endswith((".pyc", ".so")) for n in held)
    assert not any("crypto" in n or "cffi" in n for n in packages)
    # Their licences ask for it.
    assert any(".dist-info/" in n and "LICEN" in n.upper() for n in held)


def test_it_runs_where_nothing_is_installed(built, tmp_path):
    file = tmp_path / "smolmon.pyz"
    file.write_bytes(built)
    # -I -S: neither the environment, the current folder nor site-packages.
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(file), "exporter", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "--listen" in done.stdout


def test_it_changes_with_its_sources(tmp_path, built):
    package = tmp_path / "smolmon"
    (package / "commands").mkdir(parents=True)
    (package / "commands" / "exporter.py").write_text("1")
    (package / "elsewhere").mkdir()
    (package / "elsewhere" / "a.py").write_text("1")
    (package / "exporter").symlink_to(package / "elsewhere")  # as in a checkout
    one = agent.build(package)
    assert "smolmon/exporter/a.py" in names(one)
    (package / "elsewhere" / "a.py").write_text("2")
    assert agent.build(package) not in (one, built)


def test_without_an_exporter_it_is_one_line(tmp_path):
    with pytest.raises(agent.AgentError, match="install smolmon again") as error:
        agent.build(tmp_path)
    assert "\n" not in str(error.value)


def test_a_dependency_that_an_old_pip_has_built_will_do(built, tmp_path):
    """Debian 12's pip runs iperf3's setup.py, and its list then has files that are nowhere."""
    (module,) = importlib.util.find_spec("iperf3").submodule_search_locations
    shutil.copytree(module, tmp_path / "iperf3")
    listed = tmp_path / "iperf3-0.1.11.egg-info"
    listed.mkdir()
    (listed / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: iperf3\nVersion: 0.1.11\n")
    (listed / "SOURCES.txt").write_text("LICENSE\nsetup.py\niperf3/__init__.py\niperf3/iperf3.py\n")
    script = "import sys; from smolmon.setup import agent; sys.stdout.buffer.write(agent.build())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        check=True,
    )
    licences = {name for name in names(built) if name.startswith("iperf3-")}
    assert set(names(done.stdout)) == set(names(built)) - licences

    shutil.rmtree(tmp_path / "iperf3")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        check=False,
    )
    assert done.stderr.endswith(b"AgentError: iperf3 is not whole here; install smolmon again\n")


def test_a_missing_dependency_is_one_line(monkeypatch):
    monkeypatch.setattr(agent, "DEPENDENCIES", ("no-such-distribution",))
    with pytest.raises(agent.AgentError, match="no-such-distribution is not installed"):
        agent.build()
