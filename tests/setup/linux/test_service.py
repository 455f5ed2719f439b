"""The unit, where the exporter listens, and the sysctl file."""

from __future__ import annotations

import pytest
from attrs import evolve

from smolmon.setup.linux.service import listen_address, ping_allowed, sysctl_file, unit
from tests.setup.material import bare, want


def test_the_exporter_never_listens_everywhere():
    facts = bare("pi5")
    assert listen_address(want("pi5"), facts) == "192.168.1.14:9742"
    named = evolve(want("pi5"), management="pi5.local")
    assert listen_address(named, facts) == "192.168.1.14:9742"
    over_ipv6 = evolve(facts, ssh_address="fe80::5e:edff:fe7b:3e52")
    assert listen_address(named, over_ipv6) == "192.168.1.14:9742"
    assert listen_address(named, evolve(facts, ssh_address="2001:db8::1")) == "[2001:db8::1]:9742"
    assert listen_address(named, evolve(facts, ssh_address=None)) == "127.0.0.1:9742"


def test_the_unit_starts_this_node_s_exporter():
    text = unit(want("pi5"), "/opt/py 3%/python$", "192.168.1.14:9742", tls=True).decode()
    assert (
        'ExecStart="/opt/py 3%%/python$$" "/opt/smolmon/smolmon.pyz" "exporter" "--node" "pi5" '
        '"--cluster" "/opt/smolmon/cluster.yaml" "--listen" "192.168.1.14:9742" '
        '"--web.config.file" "/opt/smolmon/tls/web.yml"\n'
    ) in text
    assert "LoadCredential=node.key:/opt/smolmon/tls/node.key\n" in text
    assert "DynamicUser=yes" in text
    assert "CapabilityBoundingSet=\n" in text


@pytest.mark.parametrize(
    ("seen", "allowed"),
    [("0 2147483647", True), ("1 0", False), ("0 1000", False), ("", False), ("61184 65519", True)],
)
def test_who_may_ping(seen, allowed):
    assert ping_allowed(seen) is allowed


def test_only_gateways_forward():
    assert b"net.ipv4.ip_forward = 1\n" in sysctl_file(want("mini1"))
    assert b"ip_forward" not in sysctl_file(want("pi5"))
