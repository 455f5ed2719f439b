"""Ansible as it is compared with `smolmon setup`: its environment, its inventory, one run of it.

It lives in a virtual environment of its own in the cache folder, never in the project's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from smolmon.cluster import Cluster, derive
from smolmon.lab.place import cache

PLAYBOOK = Path(__file__).with_name("ansible-network.yml")
FORKS = 10
# Connections are shared within a run, as Ansible does by default, and closed after it.
CONFIG = """\
[defaults]
inventory = {folder}/inventory.json
forks = {forks}
gathering = explicit
interpreter_python = /usr/bin/python3
retry_files_enabled = false
[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=60s
control_path_dir = {folder}/masters
"""


def environment() -> Path:
    """The folder of Ansible's programs; it is made where it is not there yet."""
    home = cache() / "ansible"
    if not (home / "bin/ansible-playbook").exists():
        uv = str(cache() / "uv/bin/uv")
        settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        for words in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "--quiet", "--python", f"{home}/bin/python", "ansible"],
        ):
            done = subprocess.run(words, env=settings, check=False)
            if done.returncode:
                sys.exit("Ansible cannot be installed; is uv there (scripts/bootstrap), and PyPI?")
    return home / "bin"


def versions(programs: Path) -> str:
    """What is compared: `ansible-core 2.19.0, community.general 11.0.0`."""
    said = subprocess.run(
        [str(programs / "ansible"), "--version"], capture_output=True, text=True, check=True
    )
    core = re.search(r"core ([0-9.]+)", said.stdout)
    manifest = next(
        programs.parent.glob("lib/*/site-packages/ansible_collections/community/general/MANIFEST.*")
    )
    general = json.loads(manifest.read_text())["collection_info"]["version"]
    return f"ansible-core {core[1] if core else '?'}, community.general {general}"


def inventory(cluster: Cluster) -> dict[str, object]:
    """Each node's links and routes, which a person would write by hand."""
    hosts = {}
    for node in cluster.nodes:
        user, _, host = node.ssh.rpartition("@")
        routes = derive.routes(cluster, node.name)
        links = []
        for segment in cluster.segments_of(node.name):
            member = segment.member(node.name)
            assert member is not None  # noqa: S101 - by segments_of
            links.append(
                {
                    "name": segment.name,
                    "interface": member.interface,
                    "address": f"{member.address}/{segment.subnet.prefixlen}",
                    "routes": [
                        f"{r.destination} {r.via}" for r in routes if r.link == segment.name
                    ],
                }
            )
        hosts[node.name] = {
            "ansible_host": host,
            **({"ansible_user": user} if user else {}),
            "links": links,
            "forward": node.name in derive.gateways(cluster),
        }
    return {"all": {"hosts": hosts}}


def prepare(folder: Path, cluster: Cluster) -> None:
    """Write the inventory and the settings into `folder`."""
    (folder / "inventory.json").write_text(json.dumps(inventory(cluster)))
    (folder / "ansible.cfg").write_text(CONFIG.format(folder=folder, forks=FORKS))


def command(programs: Path) -> list[str]:
    """The command line of a run."""
    return [str(programs / "ansible-playbook"), str(PLAYBOOK)]


def variables(folder: Path) -> Mapping[str, str]:
    """What a run needs in its environment."""
    return {"ANSIBLE_CONFIG": f"{folder}/ansible.cfg", "ANSIBLE_NOCOLOR": "1"}


def changed(output: str, nodes: int) -> int:
    """How many changes a run made. Exits where it did not end well on every one of `nodes`."""
    recap = re.findall(
        r"^\S+ +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", output, re.MULTILINE
    )
    if len(recap) != nodes or any(bad != "0" for _, *both in recap for bad in both):
        sys.exit(f"Ansible failed:\n{output}")
    return sum(int(count) for count, _, _ in recap)
