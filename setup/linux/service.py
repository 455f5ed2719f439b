"""The files that setup installs on a Linux node beside network profiles. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from attrs import field, frozen

from smolmon.setup.bundle import Bundle
from smolmon.setup.linux.facts import UNIT, Facts
from smolmon.setup.linux.wanted import Wanted

DIRECTORY = "/opt/smolmon"
AGENT = f"{DIRECTORY}/smolmon.pyz"
CLUSTER = f"{DIRECTORY}/cluster.yaml"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SYSCTL_FILE = "/etc/sysctl.d/90-smolmon.conf"
PATHS = (SYSCTL_FILE, AGENT, CLUSTER, UNIT_FILE)
# What installing and undoing need for a while.
LEFTOVERS = tuple(path + suffix for path in PATHS for suffix in (".new", ".previous"))

# The groups of systemd's dynamic users (systemd.exec(5), DynamicUser=).
_DYNAMIC_GROUPS = range(61184, 65519 + 1)


@frozen
class WantedFile:
    """A file and its content. `exporter`: the running exporter depends on it."""

    path: str
    what: str
    content: bytes = field(repr=False)
    exporter: bool = True


def files(wanted: Wanted, facts: Facts, bundle: Bundle) -> tuple[WantedFile, ...]:
    """Every file that `wanted` needs on its node, in the order of installation."""
    return (
        WantedFile(SYSCTL_FILE, "the sysctl file", sysctl_file(wanted), exporter=False),
        WantedFile(AGENT, "the agent", bundle.agent),
        WantedFile(CLUSTER, "the cluster file", bundle.cluster_file),
        WantedFile(
            UNIT_FILE,
            "the unit",
            unit(wanted, facts.python or "/usr/bin/python3", listen_address(wanted, facts)),
        ),
    )


def listen_address(wanted: Wanted, facts: Facts) -> str:
    """Where the exporter listens: the management address, never all of them.

    Where that is a name, the address at which the SSH session arrived: for an IPv6 one, the IPv4
    address beside it if there is one, since a link-local address means nothing elsewhere.
    """
    host = wanted.management
    try:
        ip_address(host)
    except ValueError:
        host = facts.ssh_address or "127.0.0.1"
        if ":" in host and (port := facts.interface(facts.ssh_interface)) and port.addresses:
            host = str(port.addresses[0].ip)
    return f"[{host}]:{wanted.port}" if ":" in host else f"{host}:{wanted.port}"


def sysctl_file(wanted: Wanted) -> bytes:
    """Kernel settings that must outlast a reboot; forwarding is never turned *off* by smolmon."""
    lines = [
        "# Written by `smolmon setup`.",
        "# The exporter pings without privileges.",
        "net.ipv4.ping_group_range = 0 2147483647",
    ]
    if wanted.forwarding:
        lines += [
            f"# {wanted.node} passes packets on between its segments.",
            "net.ipv4.ip_forward = 1",
        ]
    return ("\n".join(lines) + "\n").encode()


def ping_allowed(group_range: str) -> bool:
    """Whether this `net.ipv4.ping_group_range` lets a dynamic user open ICMP sockets."""
    try:
        low, high = map(int, group_range.split())
    except ValueError:
        return False
    return low <= _DYNAMIC_GROUPS[0] and _DYNAMIC_GROUPS[-1] <= high


def unit(wanted: Wanted, python: str, listen: str) -> bytes:
    """The exporter's systemd unit."""
    words = [python, AGENT, "exporter"]
    words += ["--node", wanted.node, "--cluster", CLUSTER, "--listen", listen]
    return _UNIT.format(start=" ".join(map(_systemd_word, words)), node=wanted.node).encode()


def _systemd_word(word: str) -> str:
    """`word` as one argument of ExecStart= (systemd.service(5), "Command lines")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


# After=network.target, not network-online.target: a node without its Wi-Fi must still watch its
# links, and where its address is late the exporter starts again until it can listen.
_UNIT = """\
# Written by `smolmon setup`.
[Unit]
Description=smolmon exporter ({node})
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart={start}
Restart=always
RestartSec=2
DynamicUser=yes
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""
