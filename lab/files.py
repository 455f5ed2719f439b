"""What the lab writes into a machine before it boots. Pure but for :func:`install`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from smolmon.cluster.model import Platform
from smolmon.lab.plan import CONTROLLER, Machine, Plan

UID = 1000
SHELL = "/bin/bash"

# What a small machine in a namespace has no use for, or what must not start by itself: the root
# file system is also the controller's, and Debian's packages enable the monitor's units.
DISPATCHER = "NetworkManager-dispatcher.service"
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-logind.service",
    "systemd-hostnamed.service",
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    DISPATCHER,  # here D-Bus may take 25 s to start it
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "console-getty.service",
    "getty.target",
    "ModemManager.service",
    "polkit.service",
    "tmp.mount",  # systemd-nspawn has mounted /tmp already, perhaps with things bound into it
    "iperf3.service",
    "prometheus.service",
    "prometheus-alertmanager.service",
    "prometheus-node-exporter.service",
)

SSHD = """\
PasswordAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100
"""

SSH_CONFIG_HEAD = """\
# Written by `smolmon lab up`: one block for each node of the emulated cluster.
"""


@frozen
class File:
    """A file to write: where, what, and for whom. `link` makes it a symbolic link to `text`."""

    path: str
    text: str
    mode: int = 0o644
    uid: int = 0
    link: bool = False


def for_machine(plan: Plan, machine: Machine, keys: Keys, accounts: Accounts) -> list[File]:
    """Everything but the controller's monitor. `accounts` are those that the suite comes with."""
    files = [
        *(File(f"/etc/systemd/system/{unit}", "/dev/null", link=True) for unit in MASKED),
        File("/etc/hostname", f"{machine.name}\n"),
        File("/etc/hosts", hosts(plan, machine)),
        File("/etc/resolv.conf", "# The emulated cluster has no name server.\n"),
        File("/etc/ssh/sshd_config.d/smolmon-lab.conf", SSHD),
        File("/etc/ssh/ssh_host_ed25519_key", keys.host[machine.name].private, 0o600),
        File("/etc/ssh/ssh_host_ed25519_key.pub", keys.host[machine.name].public),
        File("/etc/NetworkManager/NetworkManager.conf", network_manager(machine)),
    ]
    if machine.platform is Platform.MACOS or machine.name == CONTROLLER:
        files.append(
            File("/etc/systemd/system/NetworkManager.service", "/dev/null", link=True),
        )
    if machine.name == CONTROLLER:
        return [*files, *_ssh_client(plan, keys)]
    return [*files, *_user(machine.user, keys.client.public, accounts)]


@frozen
class Accounts:
    """The texts of /etc/passwd, /etc/shadow and /etc/group."""

    passwd: str
    shadow: str
    group: str


@frozen
class KeyPair:
    """An SSH key, in OpenSSH's own formats."""

    private: str
    public: str

    @property
    def bare(self) -> str:
        """The public key without its comment."""
        return " ".join(self.public.split()[:2])


@frozen
class Keys:
    """The controller's own key, and the host key of every machine."""

    client: KeyPair
    host: dict[str, KeyPair]


def hosts(plan: Plan, machine: Machine) -> str:
    """A machine's /etc/hosts: itself (or sudo stalls), and on the controller every node."""
    lines = [f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n"]
    if machine.name == CONTROLLER:
        lines += [
            f"{other.addresses[0].ip} {' '.join(other.names)}\n"
            for other in plan.machines
            if other.name != CONTROLLER
        ]
    return "".join(lines)


def network_manager(machine: Machine) -> str:
    """NetworkManager as on a fresh Debian, but for what a lab must keep it from.

    It would take the Wi-Fi and the lab's own devices for its own, and rename the machine.
    """
    alone = ";".join(f"interface-name:={name}" for name in (machine.wifi, *machine.lab_devices))
    return (
        "[main]\n"
        "plugins=keyfile\n"
        "no-auto-default=*\n"
        "dns=none\n"
        "hostname-mode=none\n"
        "auth-polkit=root-only\n"
        "\n"
        "[keyfile]\n"
        f"unmanaged-devices={alone}\n"
    )


def _user(name: str, key: str, accounts: Accounts) -> list[File]:
    if name == "root":
        return [File("/root/.ssh/authorized_keys", key, 0o600)]
    home = f"/home/{name}"
    # `*` is no password and, unlike `!`, does not lock the account.
    return [
        File("/etc/passwd", _with(accounts.passwd, f"{name}:x:{UID}:{UID}::{home}:{SHELL}")),
        File("/etc/shadow", _with(accounts.shadow, f"{name}:*:19000:0:99999:7:::"), 0o640),
        File("/etc/group", _with(accounts.group, f"{name}:x:{UID}:")),
        File("/etc/sudoers.d/smolmon-lab", f"{name} ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        File(f"{home}/.ssh/authorized_keys", key, 0o600, UID),
    ]


def _with(table: str, entry: str) -> str:
    """A table of accounts with `entry` in place of an older one of the same name."""
    name = entry.partition(":")[0]
    kept = [line for line in table.splitlines() if line.partition(":")[0] != name]
    return "\n".join((*kept, entry, ""))


def _ssh_client(plan: Plan, keys: Keys) -> list[File]:
    config, known = [SSH_CONFIG_HEAD], []
    for machine in plan.machines:
        if machine.name == CONTROLLER:
            continue
        addresses = [str(a.ip) for a in machine.addresses]
        names = [*machine.names, *addresses]
        known.append(f"{','.join(names)} {keys.host[machine.name].bare}\n")
        config.append(
            f"\nHost {' '.join(names)}\n"
            f"    HostName {addresses[0]}\n"
            f"    User {machine.user}\n"
            "    IdentityFile ~/.ssh/id_ed25519\n"
            "    StrictHostKeyChecking yes\n"
        )
    return [
        File("/root/.ssh/id_ed25519", keys.client.private, 0o600),
        File("/root/.ssh/id_ed25519.pub", keys.client.public),
        File("/root/.ssh/config", "".join(config), 0o600),
        File("/root/.ssh/known_hosts", "".join(known)),
    ]


def install(root: Path, files: Iterable[File]) -> None:
    """Write `files` below `root`. Folders that are not there get the owner of their file."""
    for file in files:
        path = root / file.path.lstrip("/")
        _folder(path.parent, file.uid)
        path.unlink(missing_ok=True)
        if file.link:
            path.symlink_to(file.text)
            continue
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, file.mode)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(file.text)
        path.chmod(file.mode)
        os.chown(path, file.uid, file.uid)


def _folder(path: Path, uid: int) -> None:
    if path.is_dir():
        return
    _folder(path.parent, uid if path.parent.name != "home" else 0)
    path.mkdir(mode=0o700 if path.name == ".ssh" else 0o755)
    path.chmod(0o700 if path.name == ".ssh" else 0o755)
    os.chown(path, uid, uid)
