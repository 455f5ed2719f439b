"""Reading what real nodes printed."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from smolmon.setup.linux import asking, facts, preflight
from smolmon.setup.linux.facts import Connection, Device, FactsError, ProfileRoute
from smolmon.setup.linux.facts_system import Service
from smolmon.setup.linux.system import LinuxSystem
from tests.setup.material import guide, recorded, want


def test_a_bare_node():
    seen = facts.parse(recorded("pi5-bare"))
    assert (seen.user, seen.uid, seen.sudo) == ("pi", 1000, True)
    assert seen.ssh_interface == "wlan0"
    assert seen.default_interfaces == ("wlan0",)
    assert seen.nm_running
    assert Device("eth0", "ethernet", "disconnected") in seen.devices
    assert seen.stored == seen.applied == seen.files == {}
    assert seen.python_version == (3, 11)
    assert seen.sysctl == {"net.ipv4.ip_forward": "0", "net.ipv4.ping_group_range": "1 0"}
    assert seen.service == Service()
    port = seen.interface("eth0")
    assert port.up
    assert port.carrier
    assert port.addresses == ()
    assert seen.interface(None, port.mac) == port


def test_a_provisioned_gateway():
    seen = facts.parse(recorded("mini1-provisioned"))
    assert seen.sysctl["net.ipv4.ip_forward"] == "1"
    assert {p.name for p in seen.stored.values()} == {"smolmon-fabric", "smolmon-edge50"}
    fabric = seen.applied["bridge0"]
    assert fabric.addresses == (IPv4Interface("10.10.0.1/24"),)
    assert fabric.routes == (
        ProfileRoute(IPv4Network("192.168.51.0/24"), IPv4Address("10.10.0.3")),
    )
    assert fabric.never_default
    assert fabric.ipv6_method == "link-local"
    assert seen.service.active
    assert seen.service.enabled
    assert seen.service.listening == ("192.168.1.11:9742",)
    newest = max(file.changed for file in seen.files.values())
    assert 0 <= seen.service.started - newest < 60
    assert len(seen.files["/opt/smolmon/smolmon.pyz"].sha256) == 64
    key = seen.files["/opt/smolmon/tls/node.key"]
    assert (key.mode, key.owner, len(key.sha256)) == (0o600, 0, 64)
    assert seen.files["/opt/smolmon/tls/node.crt"].mode == 0o644
    assert seen.systemd == 252
    assert seen.clock is not None
    assert 0 <= seen.clock - newest < 60


def test_a_file_that_nobody_may_read_counts_as_none():
    lines = recorded("pi5-provisioned").splitlines(keepends=True)
    text = "".join(x for x in lines if not x.endswith("  /opt/smolmon/tls/node.key\n"))
    assert "/opt/smolmon/tls/node.key" not in facts.parse(text).files


def test_names_with_colons_and_backslashes():
    text = recorded("pi5-bare").replace(
        "@@connections\n", "@@connections\nU:vpn:eth0:a\\:b \\\\ c:d\n"
    )
    assert Connection("U", "a:b \\ c:d", "eth0", "vpn") in facts.parse(text).connections


def test_what_an_interface_belongs_to_and_is_stacked_on():
    text = recorded("pi5-bare").replace(
        '"ifname":"eth0"', '"ifname":"eth0","link":"end0","master":"br0"'
    )
    port = facts.parse(text).interface("eth0")
    assert (port.master, port.link) == ("br0", "end0")
    assert facts.parse(recorded("pi5-bare")).interface("eth0").master is None


def test_routes_that_go_nowhere_and_an_address_without_a_zone():
    text = recorded("pi5-bare").replace(
        '[{"dst":"default"', '[{"type":"blackhole","dst":"10.10.0.7","flags":[]},{"dst":"default"'
    )
    text = text.replace("192.168.1.14 22", "fe80::5e:edff:fe7b:3e52%wlan0 22")
    seen = facts.parse(text)
    assert seen.routes[0].kind == "blackhole"
    assert seen.routes[0].device is None
    assert seen.ssh_address == "fe80::5e:edff:fe7b:3e52"
    assert seen.ssh_interface == "wlan0"


def test_without_network_manager():
    text = recorded("pi5-bare").replace("@@nm-running\n", "")
    assert not facts.parse(text).nm_running


@pytest.mark.parametrize(
    "text",
    ["", "@@user\nroot\n", recorded("pi5-bare").replace('"ifname"', '"name"'), "@@addresses\n{"],
)
def test_what_is_not_facts_is_one_line(text):
    with pytest.raises(FactsError) as error:
        facts.parse(text)
    assert "\n" not in str(error.value)


def test_a_profile_by_mac_and_a_route_with_a_metric():
    text = (
        '{"data":[{"connection":{"uuid":{"data":"u"}},"802-3-ethernet":{"mac-address":{"type":"ay",'
        '"data":[216,58,221,1,2,3]}},"ipv4":{"gateway":{"data":"10.0.0.1"},"dns":{"data":[1]},'
        '"route-data":{"data":[{"dest":{"data":"10.1.0.0"},"prefix":{"data":16},'
        '"metric":{"data":5}}]}}}]}'
    )
    profile = facts.profile(text)
    assert profile.mac == "d8:3a:dd:01:02:03"
    assert profile.gateway == "10.0.0.1"
    assert profile.dns
    assert profile.autoconnect
    assert profile.routes == (ProfileRoute(IPv4Network("10.1.0.0/16"), None, 5),)


def test_the_script_is_sound_and_survives_a_machine_with_nothing_on_it():
    """No nmcli, no busctl, no ip: the answer is a FactsError, not a stuck or failing script."""
    script = LinuxSystem(guide(), "pi5").facts_script()
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0
    nothing = "PATH=/nonexistent\n"
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=nothing + script,
        text=True,
        capture_output=True,
        timeout=20,
        check=False,
    )
    with pytest.raises(FactsError, match="NetworkManager"):
        facts.parse(done.stdout)


STAND_INS = {
    "python3": "exit 1",
    "ip": "echo '[]'",
    "nmcli": r"""case "$*" in
*device) printf '%s\n' '/o/Devices/2:eth0:ethernet:connected' \
  '/o/Devices/3:eth1:ethernet:disconnected' '/o/Devices/4:br\:0:bridge:connected';;
*) printf '%s\n' '/o/Settings/7:UUID-1:802-3-ethernet:eth0:a\:b\\c' \
  '/o/Settings/8:UUID-2:vpn::';;
esac""",
    "busctl": """for last; do :; done
printf '{"data":[{"connection":{"id":{"data":"%s"}}}]}\\n' "$*" """,
}


def test_the_network_is_read_by_the_paths_that_networkmanager_lists(tmp_path):
    """Only wanted profiles and connected Ethernet devices are asked for; names come whole."""
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=asking.network_script(["UUID-1", "UUID-3"]),
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        text=True,
        capture_output=True,
        timeout=20,
        check=True,
    )
    seen = facts.parse(done.stdout)
    assert done.stderr == ""
    assert [(d.name, d.kind) for d in seen.devices] == [
        ("eth0", "ethernet"),
        ("eth1", "ethernet"),
        ("br:0", "bridge"),
    ]
    assert [(c.uuid, c.device, c.name) for c in seen.connections] == [
        ("UUID-1", "eth0", "a:b\\c"),
        ("UUID-2", "", ""),
    ]
    assert list(seen.stored) == ["UUID-1"]
    assert " /o/Settings/7 " in seen.stored["UUID-1"].name
    assert list(seen.applied) == ["eth0"]
    assert " /o/Devices/2 " in seen.applied["eth0"].name


def test_the_network_alone_asks_for_nothing_of_the_exporter():
    system = LinuxSystem(guide(), "pi5")
    alone = system.facts_script(exporter=False)
    assert "smolmon-exporter" not in alone
    assert "@@python" not in alone
    assert "/opt/smolmon/smolmon.pyz" not in alone
    text = recorded("pi5-provisioned").partition("@@python")[0]
    without = facts.parse(text)
    assert not without.exporter_asked
    assert preflight.refusals(want("pi5"), without) == []
    assert "python3" in preflight.refusals(want("pi5"), facts.parse(f"{text}@@python\n"))[0]


@pytest.mark.parametrize(("told", "there"), [("yes", True), ("no", False), ("", None)])
def test_libiperf_is_known_where_the_node_can_tell(told, there):
    text = f"{recorded('pi5-provisioned')}\n@@libiperf\n{told}\n"
    assert facts.parse(text).libiperf is there
