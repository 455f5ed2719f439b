"""What is fair about comparing `smolmon setup` with Ansible: the same wishes, and honest counts."""

import json

import pytest

from benchmarks import ansible, provisioning

RECAP = """\
PLAY RECAP *****
mini1                      : ok=2    changed={} unreachable=0    failed={} skipped=0
pi5                        : ok=1    changed=0    unreachable=0    failed=0 skipped=1
"""


@pytest.fixture
def cluster(tmp_path):
    return provisioning.all_linux(tmp_path)[1]


def test_the_minis_run_linux_here(cluster):
    assert {n.platform.value for n in cluster.nodes} == {"linux"}


def test_ansible_is_asked_for_the_same_network(cluster, tmp_path):
    ansible.prepare(tmp_path, cluster)
    hosts = json.loads((tmp_path / "inventory.json").read_text())["all"]["hosts"]
    assert hosts["pi4"]["ansible_user"] == "pi"
    assert hosts["pi4"]["links"] == [
        {
            "name": "edge51",
            "interface": "eth0",
            "address": "192.168.51.4/24",
            "routes": ["10.10.0.0/24 192.168.51.2"],
        }
    ]
    assert [n for n, host in hosts.items() if host["forward"]] == ["mini1", "mini3"]
    assert [link["routes"] for link in hosts["mini3"]["links"]] == [
        ["192.168.50.0/24 10.10.0.1"],
        [],
    ]


def test_changes_are_counted_over_all_nodes():
    assert ansible.changed(RECAP.format(2, 0), 2) == 2
    assert ansible.changed(RECAP.format(0, 0), 2) == 0


@pytest.mark.parametrize(("text", "nodes"), [(RECAP.format(1, 1), 2), (RECAP.format(1, 0), 3)])
def test_a_run_that_failed_is_not_measured(text, nodes):
    with pytest.raises(SystemExit, match="Ansible failed"):
        ansible.changed(text, nodes)
