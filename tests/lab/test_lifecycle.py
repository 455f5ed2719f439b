"""The lab leaves the machine as it was, however it ends, and says clearly what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.client import ROOT, refuse_to_replace_a_lab, smolmon, until

GUIDE = str(ROOT / "examples" / "guide.yaml")


@pytest.fixture(autouse=True)
def no_lab_left() -> Iterator[None]:
    """Each of these tests starts and ends without a lab."""
    refuse_to_replace_a_lab()
    yield
    smolmon("lab", "down")


def namespaces() -> set[str]:
    """The lab's network namespaces; other tests have theirs."""
    out = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in out.stdout.splitlines()}
    return {name for name in names if name.startswith("smolmon-")}


def mounts() -> list[str]:
    """Everything of the lab's that is mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(line for line in lines if "smolmon" in line)


def processes() -> set[str]:
    """The command lines of what belongs to a lab: machines, their supervisors, the relays."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if ("smolmon-" in words and "nspawn" in words) or "smolmon.lab.forward" in words:
            found.add(words)
    return found


def files() -> list[str]:
    """What stands where a lab, or what it runs, writes; root file systems and tools are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("SMOLMON_CACHE") or f"{base}/smolmon")
    kept = ("rootfs", "tools", "uv")
    found = [p for p in cache.iterdir() if p.name not in kept]
    found += Path("/run/systemd/nspawn").glob("**/*")
    for folder in ("/run", "/tmp", "/sys/fs/cgroup"):
        found += Path(folder).glob("**/smolmon-*")
    return sorted(map(str, found))


def state() -> tuple[set[str], list[str], set[str], list[str]]:
    """What a lab could leave behind."""
    return namespaces(), mounts(), processes(), files()


def test_down_leaves_nothing() -> None:
    before = state()
    smolmon("lab", "up", "--bare", "--cluster", GUIDE)
    assert {f"smolmon-{n}" for n in ("mini1", "controller", "internet")} <= namespaces()
    assert "already up" in smolmon("lab", "up", "--bare", "--cluster", GUIDE, check=False).stderr
    smolmon("lab", "down")
    assert state() == before


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_an_end_in_the_middle_leaves_nothing(sign: signal.Signals) -> None:
    before = state()
    lab = subprocess.Popen(
        [sys.executable, "-m", "smolmon", "lab", "up", "--cluster", GUIDE],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until("a machine", lambda: processes() - before[2])
    lab.send_signal(sign)
    lab.wait(30)
    smolmon("lab", "down")
    assert state() == before


def test_down_unmounts_what_a_newer_nspawn_leaves() -> None:
    left = Path("/run/systemd/nspawn/unix-export/smolmon-mini1")
    left.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "smolmon-left", str(left)], check=True)
    smolmon("lab", "down")
    assert not left.exists()


def test_bare_machines_answer_over_ssh_and_know_nothing_of_the_cluster() -> None:
    smolmon("lab", "up", "--bare", "--cluster", GUIDE)
    seen = smolmon("lab", "exec", "controller", "--", "ssh", "pi@192.168.1.14", "sudo hostname")
    assert seen.stdout.strip() == "pi5"
    routes = smolmon("lab", "exec", "pi5", "--", "ip", "route").stdout
    assert "10.10.0.0/24" not in routes
    plan = smolmon("lab", "exec", "controller", "--", "smolmon", "setup", "--plan", check=False)
    assert plan.returncode == 2
    assert smolmon("lab", "exec", "pi5", "--", "ip", "route").stdout == routes


@pytest.mark.parametrize(
    ("args", "environment", "words"),
    [
        (["up", "--cluster", "nowhere.yaml"], {}, "nowhere.yaml: is not there; `smolmon"),
        (["up", "--cluster", GUIDE], {"PATH": "/nowhere"}, "apt-get install"),
        (["exec", "mini1", "--", "true"], {}, "not up"),
        (["break", "forwarding-of"], {}, "not up"),
    ],
)
def test_what_is_missing_is_one_line(
    args: list[str], environment: dict[str, str], words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smolmon", "lab", *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_root_is_one_line() -> None:
    # Imported before, since nobody may read this checkout or the interpreter's own files.
    code = (
        "import os, pkgutil, smolmon.lab\n"
        "from smolmon.cli import cli\n"
        "for module in pkgutil.iter_modules(smolmon.lab.__path__, 'smolmon.lab.'):\n"
        "    __import__(module.name)\n"
        "import smolmon.commands.lab\n"
        "os.seteuid(65534)\n"
        f"cli(['lab', 'up', '--cluster', {GUIDE!r}])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "needs root" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
