"""The two commands, with a stand-in for ssh that answers with recordings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from smolmon.commands.setup import setup
from smolmon.commands.verify import verify
from smolmon.setup.ssh import connections
from smolmon.setup.together import SIGNALS
from tests.setup.material import GUIDE, recorded

ONE = """\
cluster: guide
server: {node: mini1, port: 65432}
internet: {address: 8.8.8.8}
nodes:
  mini1: {platform: PLATFORM, ssh: mini1, management: 192.168.1.11}
  pi5: {platform: linux, ssh: pi@192.168.1.14, management: 192.168.1.14}
segments:
  fabric:
    kind: thunderbolt
    subnet: 10.10.0.0/24
    members: {mini1: {address: 10.10.0.1, interface: bridge0}}
  edge50:
    kind: ethernet
    subnet: 192.168.50.0/24
    members:
      mini1: {address: 192.168.50.1, interface: en5}
      pi5: {address: 192.168.50.2, interface: eth0}
"""


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Nodes that answer each script with the recording of that name, or are down."""
    program = tmp_path / "ssh"

    def install(**answers: str) -> None:
        cases = []
        for destination, name in answers.items():
            (tmp_path / f"{destination}.txt").write_text(recorded(name) if name else "")
            reply = f'cat "{tmp_path}/{destination}.txt"; echo; echo "$token 0"'
            cases.append(f"*{destination}*) {reply if name else 'refuse'} ;;")
        program.write_text(
            "#!/bin/sh\n"
            # Where it would connect to: asked, and not counted as a connection.
            'for word; do [ "$word" != -G ] || exit 1; done\n'
            "refuse() { echo 'Connection refused' >&2; exit 255; }\n"
            f"echo ran >> {tmp_path}/log\n"
            "token=$(grep -o '@@status-[0-9a-f]*')\n"
            'case "$*" in\n' + "\n".join(cases) + "\n*) refuse ;;\nesac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


@pytest.fixture
def cluster_file(tmp_path):
    def write(platform: str = "linux") -> str:
        file = tmp_path / "cluster.yaml"
        file.write_text(ONE.replace("PLATFORM", platform))
        return str(file)

    return write


def call(command, *arguments: str):
    return CliRunner().invoke(command, arguments)


def test_the_plan_of_bare_nodes(nodes, cluster_file):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file(), "--plan")
    assert done.exit_code == 2, done.output
    assert "pi5 (pi@192.168.1.14): 14 steps" in done.output
    assert "  # there is no profile smolmon-edge50 on eth0" in done.output
    assert done.output.count("undone by: the checkpoint") == 6 + 3
    assert "undone by: sudo -n sysctl -q -w net.ipv4.ip_forward=0" in done.output
    assert "undo themselves after 90 s" in done.output


def test_the_plan_as_json(nodes, cluster_file):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file(), "--plan", "--json", "--node", "pi5")
    assert done.exit_code == 2
    data = json.loads(done.output)
    assert list(data["plan"]) == ["pi5"]
    step = data["plan"]["pi5"]["network"][0]
    assert step["command"].startswith("sudo -n nmcli connection add")
    assert data["refused"] == []


def test_no_plan_shows_a_key(nodes, cluster_file):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    for more in ([], ["--json"]):
        done = call(setup, "--cluster", cluster_file(), "--plan", *more)
        assert done.exit_code == 2
        assert "/opt/smolmon/tls/node.key" in done.output
        kept = list(Path(os.environ["SMOLMON_CONFIG"]).rglob("*.key"))
        assert len(kept) == 3
        for key in kept:
            secret = key.read_text().splitlines()[1:-1]
            assert not any(line in done.output for line in secret)


def test_an_authority_that_cannot_be_used_is_one_line(nodes, cluster_file):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    file = cluster_file()
    call(setup, "--cluster", file, "--plan")
    key = Path(os.environ["SMOLMON_CONFIG"], "guide", "authority.key")
    key.write_text("x")
    done = call(setup, "--cluster", file, "--yes")
    assert done.exit_code == 1
    assert done.output.startswith(f"{key}: holds no usable private key")
    assert done.output.count("\n") == 1


def test_without_a_terminal_it_does_not_go_on_by_itself(nodes, cluster_file, tmp_path):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file())
    assert done.exit_code == 2
    assert "there is no terminal to ask on; look at --plan, then add --yes" in done.output
    assert (tmp_path / "log").read_text().count("ran") == 2  # the facts, and nothing else


def test_one_node_that_cannot_be_reached_keeps_all_as_they_are(nodes, cluster_file, tmp_path):
    nodes(mini1="", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file(), "--yes")
    assert done.exit_code == 1
    assert "mini1: nothing listens for SSH there; start the SSH server on it" in done.output
    assert "nothing was changed on any node" in done.output
    assert (tmp_path / "log").read_text().count("ran") == 2


def test_what_is_no_mac_is_one_line(nodes, cluster_file):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file("macos"), "--yes")
    assert done.exit_code == 1
    assert "mini1: its facts cannot be read (ValueError: it names no network" in done.output
    assert "is it a Mac with macOS 11 or newer?" in done.output


def test_an_unknown_node_is_wrong_usage():
    for command in (setup, verify):
        done = call(command, "--cluster", str(GUIDE), "--node", "pi6")
        assert done.exit_code == 2
        assert "there is no node pi6; nodes are mini1, " in done.output


def test_verify_of_a_healthy_node(nodes):
    nodes(pi="pi5-verify")
    done = call(verify, "--cluster", str(GUIDE), "--node", "pi5")
    assert done.exit_code == 0, done.output
    assert "all 6 checks are as expected" in done.output
    data = json.loads(call(verify, "--cluster", str(GUIDE), "--node", "pi5", "--json").output)
    assert {check["verdict"] for check in data["checks"]} == {"pass"}


def test_verify_of_a_node_that_is_down(nodes):
    nodes(pi="")
    done = call(verify, "--cluster", str(GUIDE), "--node", "pi5")
    assert done.exit_code == 1
    assert "pi5: nothing listens for SSH there" in done.output
    assert done.output.endswith("nothing was checked; 1 node did not answer\n")


def test_verify_of_a_node_whose_answer_lacks_a_part(nodes, tmp_path):
    nodes(pi="pi5-verify")
    file = tmp_path / "pi.txt"
    file.write_text(file.read_text().replace("@@ping probe 0\n", "@@gone\n"))
    done = call(verify, "--cluster", str(GUIDE), "--node", "pi5")
    assert done.exit_code == 1
    assert "pi5: its checks cannot be read: it lacks the part `ping probe 0`; run" in done.output
    assert "Traceback" not in done.output


def test_json_without_a_plan_or_an_agreement_is_wrong_usage(nodes, cluster_file, tmp_path):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file(), "--json")
    assert done.exit_code == 2
    assert "--json shows no plan to agree to; add --plan, or --yes" in done.output
    assert not (tmp_path / "log").exists()


def test_a_time_to_confirm_that_is_shorter_than_what_it_covers_is_wrong_usage(cluster_file):
    assert call(setup, "--cluster", cluster_file(), "--confirm-within", "39").exit_code == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_whatever_ends_it_leaves_nothing_behind(number, tmp_path):
    """A real process, while a node does not answer; its folder holds the sockets of ssh."""
    program = tmp_path / "ssh"
    program.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in ControlPath=*) echo "$word" >> "$0.path" ;; esac; done\n'
        "exec sleep 60\n"
    )
    program.chmod(0o755)

    def not_ignored() -> None:  # as they may be where the tests run in the background
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", "smolmon", "verify", "--cluster", str(GUIDE), "--node", "pi5"],
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        preexec_fn=not_ignored,  # noqa: PLW1509 - there are no threads here
    )
    log = tmp_path / "ssh.path"
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    folder = Path(log.read_text().splitlines()[0].partition("=")[2]).parent
    assert folder.is_dir()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == b""
    assert not folder.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_it_is_also_cleaned_up_while_nothing_runs(number):
    with pytest.raises(KeyboardInterrupt), connections([]):  # noqa: PT012
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


# -- saved plans, and what does not go together --------------------------------------------------


def test_a_saved_plan_is_carried_out_or_refused_as_a_whole(nodes, cluster_file, tmp_path):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    file, plan = cluster_file(), tmp_path / "plan.json"
    done = call(setup, "--cluster", file, "--plan", "-o", str(plan))
    assert done.exit_code == 2
    assert set(json.loads(plan.read_text())["nodes"]) == {"mini1", "pi5"}
    asked = call(setup, str(plan), "--cluster", file)
    assert "there is no terminal to ask on" in asked.output  # the same plan: it may go on
    nodes(mini1="mini1-bare", pi="pi5-provisioned")
    changed = call(setup, str(plan), "--cluster", file, "--yes")
    assert changed.exit_code == 1
    lines = [line for line in changed.stderr.splitlines() if not line.startswith("  ")]
    assert [line.split(":")[0] for line in lines] == ["pi5", "nothing was changed on any node"]
    assert "network step 1, `sudo -n nmcli connection add" in lines[0]
    assert "is not needed any more" in lines[0]


def test_a_saved_plan_of_another_cluster_file_is_refused_before_anything(
    nodes, cluster_file, tmp_path
):
    nodes(mini1="mini1-bare", pi="pi5-bare")
    file, plan = cluster_file(), tmp_path / "plan.json"
    call(setup, "--cluster", file, "--plan", "-o", str(plan))
    (tmp_path / "log").unlink()
    Path(file).write_text(Path(file).read_text() + "# another word\n")
    done = call(setup, str(plan), "--cluster", file, "--yes")
    assert done.exit_code == 2
    assert "the cluster file is another one since this plan of guide was made" in done.output
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "plan"], "-o saves a plan; add --plan"),
        (["plan", "--plan"], "a saved plan says itself what to do"),
        (["plan", "--node", "pi5"], "a saved plan says itself what to do"),
        (["--remove", "--only", "network"], "--remove takes away everything"),
        (["nowhere.json", "--yes"], "nowhere.json: cannot be read: No such file"),
        (["--sudoers", "pi6"], "there is no node pi6"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(cluster_file, arguments, said):
    done = call(setup, "--cluster", cluster_file(), *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_the_plan_to_remove_names_what_smolmon_installed(nodes, cluster_file):
    nodes(mini1="mini1-installed", pi="pi5-installed")
    done = call(setup, "--cluster", cluster_file(), "--remove", "--plan", "--json")
    assert done.exit_code == 2
    steps = json.loads(done.output)["plan"]["pi5"]
    words = [step["command"].removeprefix("sudo -n ") for step in steps["network"]]
    assert [w.split(" uuid")[0] for w in words] == ["nmcli connection delete"]
    assert steps["system"][-1]["command"] == "sudo -n rmdir /opt/smolmon"
    nodes(mini1="mini1-bare", pi="pi5-bare")
    done = call(setup, "--cluster", cluster_file(), "--remove", "--yes")
    assert done.exit_code == 0, done.output
    assert "nothing of smolmon is on any node" in done.output


def test_what_is_stored_beside_what_is_live(nodes, cluster_file):
    nodes(mini1="mini1-installed", pi="pi5-bare")
    done = call(verify, "--cluster", cluster_file(), "--after-reboot", "--json")
    assert done.exit_code == 1
    bad = {c["node"] for c in json.loads(done.output)["checks"] if c["verdict"] == "fail"}
    assert bad == {"pi5"}
