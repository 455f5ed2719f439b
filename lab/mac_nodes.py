"""What makes a machine a Mac: the stand-ins at Apple's paths, and away with what no Mac has.

The stand-ins themselves, `lab/mac`, are written into the node as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path

from smolmon.cluster.model import Cluster, Platform
from smolmon.lab.files import File
from smolmon.lab.mac_model import STATE, description
from smolmon.lab.plan import Machine, Plan

HOME = "/usr/lib/smolmon-mac"
# The Linux tools that the stand-ins and the lab work with are put away here.
LINUX = f"{HOME}/linux"
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"

# Where each stand-in stands. /bin and /sbin are /usr/bin and /usr/sbin here (merged /usr).
TOOLS = {
    "/usr/sbin/networksetup": "networksetup",
    "/usr/sbin/sysctl": "sysctl",
    "/sbin/route": "route",
    "/usr/sbin/netstat": "netstat",
    "/sbin/ifconfig": "ifconfig",
    "/usr/sbin/arp": "arp",
    "/usr/sbin/ndp": "ndp",
    "/sbin/ping": "ping",
    "/usr/sbin/system_profiler": "system_profiler",
    "/usr/libexec/ApplicationFirewall/socketfilterfw": "socketfilterfw",
    "/bin/launchctl": "launchctl",
    "/sbin/pfctl": "pfctl",
    "/usr/bin/sw_vers": "small.sw_vers",
    "/usr/bin/pmset": "small.pmset",
    "/usr/bin/plutil": "small.plutil",
    "/usr/bin/openssl": "small.openssl",
    "/usr/bin/shasum": "small.shasum",
    "/usr/bin/stat": "small.stat",
    "/usr/bin/install": "small.install",
    "/usr/bin/base64": "small.base64",
}
# Debian's: what no Mac has, so that a command that needs it fails here too.
KEPT = ("ip", "ss", "systemctl", "nft", "install", "journalctl", "ping")
HIDDEN = (
    *KEPT,
    *("arping", "bridge", "busctl", "chrt", "ctstat", "flock", "free", "getent", "hostnamectl"),
    *("ionice", "localectl", "loginctl", "lsblk", "lsns", "md5sum", "networkctl", "nmcli"),
    *(
        "nm-online",
        "nmtui",
        "nproc",
        "nsenter",
        "pidof",
        "resolvectl",
        "routel",
        "rtmon",
        "runuser",
    ),
    *("setpriv", "setsid", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum"),
    *("systemd-run", "tac", "taskset", "tc", "timedatectl", "timeout", "unshare", "apt", "apt-get"),
    *("apt-cache", "dpkg", "NetworkManager"),
)

SCRIPT = """\
#!/usr/bin/python3 -IS
# A stand-in of the lab, see docs/macos.md.
import sys

sys.path.insert(0, "{home}")
from smolmon.lab.mac.{module} import {function}

sys.exit({function}(sys.argv[1:]))
"""

# launchd lets ThrottleInterval pass between two starts, and not between an end and a start.
THROTTLE = """\
#!/bin/sh
# throttle UNIT SECONDS: sleeps until SECONDS have passed since it last returned for UNIT.
# throttle UNIT ended: notes how UNIT ended, which systemd forgets.
folder=/run/smolmon-mac/launchd
file=$folder/$1.started
if [ "$2" = ended ]; then
    echo "$EXIT_CODE $EXIT_STATUS" >"$folder/$1.exited"
    exit
fi
echo >>"$folder/$1.runs"
read -r now _ </proc/uptime
now=${now%.*}
if [ -e "$file" ]; then
    read -r before <"$file"
    wait=$((before + $2 - now))
    [ "$wait" -gt 0 ] && sleep "$wait" && now=$((now + wait))
fi
echo "$now" >"$file"
"""

CONFIGD = f"""\
[Unit]
Description=Network settings, as macOS' configd keeps them
Before=network.target ssh.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={HOME}/configd
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

LAUNCHD = f"""\
[Unit]
Description=The jobs of /Library/LaunchDaemons, as macOS' launchd loads them
After=smolmon-mac-configd.service

[Service]
Type=oneshot
ExecStart={HOME}/launchd
"""

SSHD = f"SetEnv PATH={PATH}\n"


def extra_files(cluster: Cluster, plan: Plan) -> dict[str, list[File]]:
    """For each Mac of the cluster what is written into it, by its name."""
    macs = [m for m in plan.machines if m.platform is Platform.MACOS]
    return {machine.name: list(_files(cluster, plan, machine)) for machine in macs}


def _files(cluster: Cluster, plan: Plan, machine: Machine) -> Iterator[File]:
    yield File(f"{STATE}/machine.json", json.dumps(description(cluster, plan, machine), indent=1))
    package = Path(str(resources("smolmon.lab.mac")))
    for name in ("smolmon", "smolmon/lab"):
        yield File(f"{HOME}/{name}/__init__.py", "")
    for source in sorted(package.glob("*.py")):
        yield File(f"{HOME}/smolmon/lab/mac/{source.name}", source.read_text(encoding="utf-8"))
    for path, what in TOOLS.items():
        module, _, function = what.partition(".")
        yield File(path, _script(module, function or "main"), 0o755)
    yield File(f"{HOME}/configd", _script("configd", "main"), 0o755)
    yield File(f"{HOME}/launchd", _script("launchctl", "boot"), 0o755)
    yield File(f"{HOME}/throttle", THROTTLE, 0o755)
    for name, text in (("configd", CONFIGD), ("launchd", LAUNCHD)):
        unit = f"smolmon-mac-{name}.service"
        yield File(f"/etc/systemd/system/{unit}", text)
        wants = f"/etc/systemd/system/multi-user.target.wants/{unit}"
        yield File(wants, f"/etc/systemd/system/{unit}", link=True)
    for unit in ("systemd-journal-flush.service", "systemd-journal-catalog-update.service"):
        # They run journalctl, which no Mac has.
        yield File(f"/etc/systemd/system/{unit}", "/dev/null", link=True)
    yield File("/etc/ssh/sshd_config.d/smolmon-mac.conf", SSHD)
    yield File("/opt/homebrew/bin/python3", "/usr/bin/python3", link=True)


def _script(module: str, function: str) -> str:
    return SCRIPT.format(home=HOME, module=module, function=function)


def furnish(root: Path) -> None:
    """Put away, in the machine's own file system, what no Mac has; make what every Mac has."""
    kept = root / LINUX.lstrip("/")
    kept.mkdir(parents=True, exist_ok=True)
    for name in HIDDEN:
        for folder in ("usr/bin", "usr/sbin"):
            path = root / folder / name
            if not (path.exists() or path.is_symlink()):
                continue
            # Some are links from one of the two folders to the other.
            if name in KEPT and not path.is_symlink():
                (kept / name).write_bytes(path.read_bytes())
                (kept / name).chmod(0o755)
            path.unlink()
    for folder in ("Library/LaunchDaemons", "Library/Logs", "var/db", "private"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("etc", "var", "tmp"):
        (root / "private" / name).symlink_to(f"/{name}")
    groups = root / "etc/group"
    groups.write_text(groups.read_text() + "wheel:x:0:root\nnobody:x:65534:\nadmin:x:80:root\n")
