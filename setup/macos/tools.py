"""Apple's tools by absolute path, and the places on a Mac where smolmon keeps things.

An SSH session that runs a command has no Homebrew and little else on its search path.
"""

from __future__ import annotations

NETWORKSETUP = "/usr/sbin/networksetup"
SYSCTL = "/usr/sbin/sysctl"
IFCONFIG = "/sbin/ifconfig"
ROUTE = "/sbin/route"
NETSTAT = "/usr/sbin/netstat"
PING = "/sbin/ping"
LAUNCHCTL = "/bin/launchctl"
PMSET = "/usr/bin/pmset"
ARP = "/usr/sbin/arp"
PFCTL = "/sbin/pfctl"
SYSTEM_PROFILER = "/usr/sbin/system_profiler"
SOCKETFILTERFW = "/usr/libexec/ApplicationFirewall/socketfilterfw"
SHASUM = "/usr/bin/shasum"

SH = "/bin/sh"
TRUE = "/usr/bin/true"
TEE = "/usr/bin/tee"
TOUCH = "/usr/bin/touch"
TAIL = "/usr/bin/tail"
CHGRP = "/usr/bin/chgrp"
CHMOD = "/bin/chmod"
LN = "/bin/ln"
MKDIR = "/bin/mkdir"
MV = "/bin/mv"
RM = "/bin/rm"
RMDIR = "/bin/rmdir"

# Where an interpreter may be, in this order; the last only where it would not ask somebody at the
# screen to install Apple's developer tools.
PYTHONS = (
    "/opt/homebrew/bin/python3",
    "/usr/local/bin/python3",
    "/Library/Frameworks/Python.framework/Versions/Current/bin/python3",
    "/usr/bin/python3",
)

EXPORTER = "dev.smolmon.exporter"
FORWARDING = "dev.smolmon.forwarding"
FENCE = "dev.smolmon.isolation"
NEIGHBOURS = "dev.smolmon.neighbors"
ROLLBACK = "dev.smolmon.rollback"
LABELS = (EXPORTER, FORWARDING, FENCE, NEIGHBOURS, ROLLBACK)

ANCHOR = "com.apple/250.smolmon"  # what /etc/pf.conf evaluates: `anchor "com.apple/*"`

PREFIX = "smolmon-"  # of the names of network services that smolmon makes

DAEMONS = "/Library/LaunchDaemons"
DIRECTORY = "/opt/smolmon"
TLS = f"{DIRECTORY}/tls"
AGENT = f"{DIRECTORY}/smolmon.pyz"
CLUSTER = f"{DIRECTORY}/cluster.yaml"
WEB = f"{DIRECTORY}/web.yml"
AUTHORITY, CERTIFICATE, KEY = f"{TLS}/authority.crt", f"{TLS}/node.crt", f"{TLS}/node.key"
PF_RULES = f"{DIRECTORY}/pf.conf"
PF_SCRIPT = f"{DIRECTORY}/isolation.sh"
PF_TOKEN = f"{DIRECTORY}/pf.token"  # of the reference by which we keep pf enabled
NEIGHBOUR_SCRIPT = f"{DIRECTORY}/neighbors.sh"
STATE = "/var/db/smolmon"
FIREWALL_RULE = f"{STATE}/firewall"  # names the program that setup let through the firewall
LOGS = "/var/log/smolmon"
LOG = f"{LOGS}/exporter.log"


def daemon_file(label: str) -> str:
    """Where launchd finds that daemon at boot."""
    return f"{DAEMONS}/{label}.plist"


DIRECTORIES = (DIRECTORY, TLS, STATE, LOGS)
PATHS = (
    *(daemon_file(FORWARDING), daemon_file(FENCE), daemon_file(NEIGHBOURS)),
    *(PF_RULES, PF_SCRIPT, NEIGHBOUR_SCRIPT),
    *(AGENT, CLUSTER, AUTHORITY, CERTIFICATE, KEY, WEB),
    *(daemon_file(EXPORTER), FIREWALL_RULE),
)
