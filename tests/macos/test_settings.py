"""Network services, firewall, power, launchd, sysctl, ping, TCP."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from smolmon.macos import (
    launchctl,
    netstat_tcp,
    networksetup,
    ping,
    pmset,
    ps,
    socketfilterfw,
    sysctl,
)
from smolmon.macos.netstat_tcp import Endpoint, Wildcard
from smolmon.macos.networksetup import AdditionalRoute, HardwarePort, Info, Method, Service
from smolmon.macos.socketfilterfw import AppRule, FirewallState
from tests.macos.recorded import recorded


def test_services() -> None:
    assert networksetup.services(recorded("networksetup_services.txt")) == (
        Service("USB 10/100/1000 LAN", enabled=True),
        Service("Wi-Fi", enabled=True),
        Service("Bluetooth PAN", enabled=False),
        Service("Thunderbolt Bridge", enabled=True),
        Service("雷雳网桥", enabled=True),
        Service('Puente "Thunderbolt"', enabled=True),
    )


def test_services_in_order_know_their_devices_also_under_a_localized_name() -> None:
    assert networksetup.service_order(recorded("networksetup_order.txt")) == (
        Service("USB 10/100/1000 LAN", True, "USB 10/100/1000 LAN", "en7"),
        Service("Wi-Fi", True, "Wi-Fi", "en1"),
        Service("Bluetooth PAN", False, "Bluetooth PAN", "en4"),
        Service("雷雳网桥", True, "Thunderbolt Bridge", "bridge0"),
        Service("Tailscale", True, "io.tailscale.ipn.macsys", None),
    )


def test_hardware_ports_end_before_the_vlans() -> None:
    assert networksetup.hardware_ports(recorded("networksetup_ports.txt")) == (
        HardwarePort("Ethernet", "en0", "98:10:e8:f3:14:97"),
        HardwarePort("Ethernet Adapter (en4)", "en4", "e2:ad:95:13:19:05"),
        HardwarePort("Thunderbolt 1", "en2", "82:15:07:f3:c5:40"),
        HardwarePort("Thunderbolt Bridge", "bridge0", None),
        HardwarePort("USB 10/100/1000 LAN", "en5", None),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "networksetup_info_manual.txt",
            Info(
                Method.MANUAL, IPv4Address("10.10.0.1"), 24, None, "82:15:07:f3:c5:40", "Automatic"
            ),
        ),
        (
            "networksetup_info_dhcp_wifi.txt",
            Info(
                Method.DHCP,
                IPv4Address("172.18.3.15"),
                24,
                IPv4Address("172.18.3.1"),
                "dc:a4:ca:f3:67:03",
                "Automatic",
            ),
        ),
        (
            "networksetup_info_dhcp_without_lease.txt",
            Info(Method.DHCP, None, None, None, "f8:e4:3b:e9:2a:cd", "Automatic"),
        ),
    ],
)
def test_info(name: str, expected: Info) -> None:
    assert networksetup.info(recorded(name)) == expected


ERRORS = {
    "NoSuch is not a recognized network service.\n": (
        "NoSuch is not a recognized network service."
    ),
    "** Error: The parameters were not valid.\n": "The parameters were not valid.",
    "** Error: Command requires admin privileges.\n": "Command requires admin privileges.",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_on_stdout_are_errors_everywhere(text: str) -> None:
    assert networksetup.error(text) == ERRORS[text]
    assert networksetup.info(text) is None
    assert networksetup.additional_routes(text) is None
    assert networksetup.services(text) == ()
    assert networksetup.service_order(text) == ()
    assert networksetup.hardware_ports(text) == ()


@pytest.mark.parametrize(
    "name", ["networksetup_services.txt", "networksetup_info_manual.txt", "networksetup_order.txt"]
)
def test_answers_are_no_errors(name: str) -> None:
    assert networksetup.error(recorded(name)) is None


def test_additional_routes() -> None:
    text = "192.168.51.0 255.255.255.0 10.10.0.3\n198.51.100.0 255.255.255.0 172.18.3.9\n"
    assert networksetup.additional_routes(text) == (
        AdditionalRoute(IPv4Network("192.168.51.0/24"), IPv4Address("10.10.0.3")),
        AdditionalRoute(IPv4Network("198.51.100.0/24"), IPv4Address("172.18.3.9")),
    )
    none = "There are no additional IPv4 routes on Thunderbolt Bridge.\n"
    assert networksetup.additional_routes(none) == ()


def test_a_list_of_routes_that_is_not_understood_wholly_is_not_known() -> None:
    text = "192.168.51.0 255.255.255.0 10.10.0.3\n192.168.52.0 255.255.255.0\n"
    assert networksetup.additional_routes(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Firewall is disabled. (State = 0)\n", FirewallState.OFF),
        ("Firewall is enabled. (State = 1)\n", FirewallState.ON),
        (
            "Firewall is blocking all non-essential incoming connections. (State = 2)\n",
            FirewallState.BLOCK_ALL,
        ),
        ("Firewall settings cannot be modified from command line on managed Mac computers.", None),
        ("", None),
    ],
)
def test_firewall_state(text: str, expected: FirewallState | None) -> None:
    assert socketfilterfw.global_state(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Firewall stealth mode is on\n", True),
        ("Firewall stealth mode is off\n", False),
        ("Stealth mode enabled\n", True),
        ("Stealth mode disabled\n", False),
        ("something else entirely", None),
    ],
)
def test_stealth_mode(text: str, expected: bool | None) -> None:
    assert socketfilterfw.stealth_mode(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Firewall has block all state set to disabled.\n", False),
        ("Firewall has block all state set to enabled.\n", True),
        ("Block all DISABLED! \n", False),
        ("Firewall is set to block all non-essential incoming connections\n", True),
        ("Firewall settings cannot be modified from command line on managed Mac computers.", None),
    ],
)
def test_block_all(text: str, expected: bool | None) -> None:
    assert socketfilterfw.block_all(text) is expected


def test_apps_of_the_firewall() -> None:
    assert socketfilterfw.apps(recorded("socketfilterfw_listapps.txt")) == (
        AppRule("/opt/smolmon/bin/python3.12", allowed=True),
        AppRule("/Applications/Trainer (beta).app", allowed=False),
        # Silent.app has no verdict.
        AppRule("/usr/libexec/sharingd", allowed=True),
    )


def test_power() -> None:
    power = pmset.parse(recorded("pmset_g.txt"))
    assert power.settings["Sleep On Power Button"] == 1
    assert power.settings["womp"] == 1
    assert power.settings["autorestart"] == 0
    assert power.settings["sleep"] == 10
    assert "hibernatefile" not in power.settings
    assert power.prevented_by == ("sharingd", "coreaudiod", "powerd")
    assert power.sleeps is True


@pytest.mark.parametrize(
    ("text", "sleeps"),
    [(" sleep  0\n", False), (" SleepDisabled 1\n sleep 10\n", False), (" disksleep 10\n", None)],
)
def test_whether_it_sleeps(text: str, sleeps: bool | None) -> None:
    assert pmset.parse(text).sleeps is sleeps


def test_a_running_job() -> None:
    job = launchctl.parse(recorded("launchctl_print_running.txt"))
    assert job == launchctl.Job("running", 501, "78: EX_CONFIG")
    assert job.running


def test_states_within_blocks_are_not_the_jobs() -> None:
    job = launchctl.parse(recorded("launchctl_print_stopped.txt"))
    assert job == launchctl.Job("not running", None, "(never exited)")
    assert not job.running


def test_a_job_that_launchd_does_not_know() -> None:
    assert launchctl.parse(recorded("launchctl_print_absent.txt")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net.inet.ip.forwarding: 1\n", True),
        ("net.inet.ip.forwarding: 0\n", False),
        ("net.inet.ip.forwarding: 0 -> 1\n", True),
        ("sysctl: unknown oid 'net.inet.ip.forwarding'\n", None),
        ("net.inet.ip.forwarding: \n", None),
        ("", None),
    ],
)
def test_forwarding(text: str, expected: bool | None) -> None:
    assert sysctl.forwarding(text) is expected


def test_boot_time() -> None:
    text = "kern.boottime: { sec = 1763900000, usec = 250000 } Sun Nov 23 12:13:20 2025\n"
    assert sysctl.boot_time(text) == 1763900000.25
    assert sysctl.boot_time("kern.boottime: soon") is None


def test_ping() -> None:
    result = ping.parse(recorded("ping.txt"))
    assert result == ping.PingResult(3, 2, 1, 0.000201, 0.000315, 0.000412)
    assert result.loss == pytest.approx(1 / 3)


def test_ping_without_an_answer() -> None:
    result = ping.parse(recorded("ping_lost.txt"))
    assert result == ping.PingResult(3, 0)
    assert result.loss == 1.0


def test_ping_that_was_killed() -> None:
    assert ping.parse("PING 10.10.0.1 (10.10.0.1): 56 data bytes\n") is None


def test_tcp_sockets() -> None:
    sockets = netstat_tcp.parse(recorded("netstat_anl_tcp.txt"))
    training = netstat_tcp.listeners(sockets, 65432)
    assert training == (Endpoint(IPv4Address("10.10.0.1"), 65432),)
    assert [c.foreign.address for c in netstat_tcp.established(sockets, 65432)] == [
        IPv4Address("10.10.0.3")  # not the one in TIME_WAIT
    ]
    assert netstat_tcp.established(sockets, 50311) == netstat_tcp.established(sockets, 65432)


def test_a_listener_for_both_families() -> None:
    (both,) = (
        s for s in netstat_tcp.parse(recorded("netstat_anl_tcp.txt")) if s.local.port == 9742
    )
    assert both.families == {4, 6}
    assert both.local.address is Wildcard.ANY
    assert both.foreign == Endpoint(Wildcard.ANY, None)


def test_addresses_of_ipv6() -> None:
    sockets = netstat_tcp.parse(recorded("netstat_anl_tcp.txt"))
    assert netstat_tcp.listeners(sockets, 5432) == (Endpoint(IPv6Address("fe80::1%lo0"), 5432),)
    long, short = netstat_tcp.established(sockets, 22)
    assert long.local == Endpoint(IPv6Address("2001:db8:1111:2222:3333:4444:5555:6666"), 22)
    assert short.local == Endpoint(IPv6Address("2001:db8:1::2"), 22)


def test_an_address_whose_zone_may_be_cut_off_is_not_known() -> None:
    word = "fe80::1111:2222:3333:4444%a-long-device"
    assert len(word) == 39
    assert netstat_tcp.endpoint(f"{word}.22") == Endpoint(None, 22)


@pytest.mark.parametrize("release", ["13", "26"])
def test_more_columns_do_not_disturb(release: str) -> None:
    sockets = netstat_tcp.parse(recorded(f"netstat_anv_tcp_macos_{release}.txt"))
    assert [s.state for s in sockets] == ["LISTEN", "ESTABLISHED"]
    assert netstat_tcp.listeners(sockets, 65432) == (Endpoint(IPv4Address("10.10.0.1"), 65432),)


@pytest.mark.parametrize("word", ["", "22", "*.http", "10.10.0.1", "10.10.0.1.70000", "en0.22"])
def test_what_is_no_endpoint(word: str) -> None:
    assert netstat_tcp.endpoint(word) is None


def test_resident_memory() -> None:
    assert ps.resident_memory(" 45056\n") == 45056 * 1024
    assert ps.resident_memory("") is None
    assert ps.resident_memory("RSS\n45056\n") is None


def test_how_dhcp_and_ipv6_are_set() -> None:
    text = recorded("networksetup_info_dhcp_wifi.txt")
    assert networksetup.info(text) == networksetup.info(text.replace("Client ID: ", "Client ID:"))
    named = networksetup.info(text.replace("Client ID: ", "Client ID: rack 3"))
    assert named is not None
    assert named.client_id == "rack 3"
    off = networksetup.info(text.replace("IPv6: Automatic", "IPv6: Off"))
    assert off is not None
    assert off.ipv6 == "Off"


def test_disabled_jobs() -> None:
    text = """
\tdisabled services = {
\t\t"dev.smolmon.exporter" => disabled
\t\t"com.openssh.sshd" => enabled
\t\t"com.apple.ftpd" => true
\t\t"com.apple.smbd" => false
\t}
"""
    assert launchctl.disabled(text) == {"dev.smolmon.exporter", "com.apple.ftpd"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("   00:07\n", 7),
        ("01:02:03", 3723),
        ("12-01:02:03\n", 12 * 86400 + 3723),
        ("", None),
        ("ELAPSED", None),
    ],
)
def test_how_long_a_process_runs(text: str, seconds: int | None) -> None:
    assert ps.elapsed(text) == seconds
