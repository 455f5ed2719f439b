"""The files that setup installs on a Linux node beside network profiles. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from smolmon.setup.bundle import Bundle, Identity
from smolmon.setup.linux import fence, neighbours
from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.facts_system import UNIT
from smolmon.setup.linux.neighbour_steps import entries
from smolmon.setup.linux.wanted import Wanted
from smolmon.setup.listening import listen_address
from smolmon.setup.web import web_config

DIRECTORY = "/opt/smolmon"
AGENT = f"{DIRECTORY}/smolmon.pyz"
CLUSTER = f"{DIRECTORY}/cluster.yaml"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SYSCTL_FILE = "/etc/sysctl.d/90-smolmon.conf"
TLS = f"{DIRECTORY}/tls"
KEY = f"{TLS}/node.key"
CERTIFICATE = f"{TLS}/node.crt"
AUTHORITY = f"{TLS}/authority.crt"
WEB_CONFIG = f"{TLS}/web.yml"
PATHS = (
    *(SYSCTL_FILE, fence.RULES, fence.UNIT_FILE, neighbours.FILE),
    *(AGENT, CLUSTER, KEY, CERTIFICATE, AUTHORITY, WEB_CONFIG, UNIT_FILE),
)
PRIVATE = (KEY,)  # that only root may read
# What installing and undoing need for a while.
LEFTOVERS = tuple(path + suffix for path in PATHS for suffix in (".new", ".previous"))

# Where systemd puts what root alone may read for the user that the unit runs as (systemd.exec(5),
# LoadCredential=).
_CREDENTIAL = f"/run/credentials/{UNIT}/node.key"

# The groups of systemd's dynamic users (systemd.exec(5), DynamicUser=).
_DYNAMIC_GROUPS = range(61184, 65519 + 1)


@frozen
class WantedFile:
    """A file and its content. `exporter`: the running exporter must start again for it."""

    path: str
    what: str
    content: bytes = field(repr=False)
    exporter: bool = True

    @property
    def mode(self) -> int:
        """Its permissions; it is root's in any case."""
        if self.path == neighbours.FILE:
            return 0o755  # else NetworkManager passes it by
        return 0o600 if self.path in PRIVATE else 0o644


def files(wanted: Wanted, facts: Facts, bundle: Bundle) -> tuple[WantedFile, ...]:
    """Every file that `wanted` needs on its node, in the order of installation."""
    identity = bundle.identity
    start = unit(
        wanted,
        facts.python or "/usr/bin/python3",
        listen_address(wanted, facts),
        tls=identity is not None,
    )
    return (
        WantedFile(SYSCTL_FILE, "the sysctl file", sysctl_file(wanted), exporter=False),
        *fence_files(wanted, facts),
        *_neighbours_file(wanted, facts, bundle),
        WantedFile(AGENT, "the agent", bundle.agent),
        WantedFile(CLUSTER, "the cluster file", bundle.cluster_file),
        *(tls_files(identity) if identity else ()),
        WantedFile(UNIT_FILE, "the unit", start),
    )


def fence_files(wanted: Wanted, facts: Facts) -> Iterator[WantedFile]:
    """What keeps segments apart, on a gateway that is to do that."""
    if wanted.fence is not None:
        nft = facts.programs.get("nft", "/usr/sbin/nft")
        start = fence.unit(wanted.node, nft)
        yield WantedFile(fence.RULES, "the isolation file", wanted.fence, exporter=False)
        yield WantedFile(fence.UNIT_FILE, "the isolation unit", start, exporter=False)


def _neighbours_file(wanted: Wanted, facts: Facts, bundle: Bundle) -> Iterator[WantedFile]:
    kept = entries(wanted, facts, bundle.macs)
    if kept:
        content = neighbours.dispatcher(kept)
        yield WantedFile(neighbours.FILE, "the static neighbours' script", content, exporter=False)


def tls_files(identity: Identity) -> Iterator[WantedFile]:
    """What the exporter needs for TLS.

    It reads all but the key, of which systemd hands it a copy when it starts, again as they
    change. But whom it let in before stays connected until it starts again.
    """
    web = web_config("node.crt", _CREDENTIAL, "authority.crt")
    yield WantedFile(KEY, "the key", identity.key)
    yield WantedFile(CERTIFICATE, "the certificate", identity.certificate, exporter=False)
    yield WantedFile(AUTHORITY, "the authority's certificate", identity.authority)
    yield WantedFile(WEB_CONFIG, "the web configuration", web)


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


def unit(wanted: Wanted, python: str, listen: str, *, tls: bool) -> bytes:
    """The exporter's systemd unit."""
    words = [python, AGENT, "exporter"]
    words += ["--node", wanted.node, "--cluster", CLUSTER, "--listen", listen]
    credential = ""
    if tls:
        words += ["--web.config.file", WEB_CONFIG]
        credential = f"LoadCredential=node.key:{KEY}\n"
    return _UNIT.format(
        start=" ".join(map(_systemd_word, words)), node=wanted.node, credential=credential
    ).encode()


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
{credential}DynamicUser=yes
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
ProtectProc=invisible
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
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""
