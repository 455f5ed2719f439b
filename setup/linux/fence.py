"""`isolation: enforce` on Linux: a gateway drops what segments must not send each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

TABLE = "smolmon"
RULES = "/opt/smolmon/isolation.nft"
UNIT = "smolmon-isolation.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"


def ruleset(apart: Iterable[IPv4Network], free: Iterable[IPv4Address]) -> bytes:
    """A file for `nft -f` that replaces our table and touches no other; nft(8).

    `apart` are the subnets that open nothing towards each other, but for the addresses `free`.
    Answers to what was opened from elsewhere pass. A gateway's own address on another of these
    subnets is one of theirs too, so its input is filtered like what it passes on; packets within
    one subnet are left alone (with br_netfilter those that are bridged come by here as well).

    No SSH session can be cut off: what is dropped comes from one of these subnets *and* is for
    another of them, while setup refuses an SSH destination inside any segment; and what is open
    stays open.
    """
    subnets = sorted(apart)
    addresses = ", ".join(map(str, sorted(free)))
    between = [
        f"ip saddr {one} ip daddr {{ {', '.join(str(s) for s in subnets if s != one)} }} drop"
        for one in subnets
        if len(subnets) > 1
    ]
    rules = ["ct state established,related accept"]
    rules += [f"ip saddr {{ {addresses} }} accept"] if addresses else []
    rules += between
    chains = [
        f"  chain {hook} {{\n"
        f"    type filter hook {hook} priority filter; policy accept;\n"
        + "".join(f"    {rule}\n" for rule in rules)
        + "  }\n"
        for hook in ("forward", "input")
    ]
    return (
        "#!/usr/sbin/nft -f\n"
        "# Written by `smolmon setup`. Drops only what one of these subnets sends to another one:\n"
        "# SSH comes in over none of them.\n"
        # The first makes sure that there is something to delete; the whole file is one transaction.
        f"table ip {TABLE} {{}}\n"
        f"delete table ip {TABLE}\n"
        f"table ip {TABLE} {{\n{''.join(chains)}}}\n"
    ).encode()


def live() -> list[str]:
    """The command that prints our table as the kernel has it, without counters."""
    return ["nft", "-s", "list", "table", "ip", TABLE]


def made() -> list[str]:
    """The command that prints what our file makes of an empty kernel: in a namespace of its own."""
    return ["unshare", "-n", "sh", "-c", f"nft -f {RULES} && {' '.join(live())}"]


def delete() -> list[str]:
    """The command that takes our table away."""
    return ["nft", "delete", "table", "ip", TABLE]


def listed(text: str) -> tuple[str, ...]:
    """A printed table, line by line; empty where there is none."""
    return tuple(filter(None, (line.strip() for line in text.splitlines())))


def difference(stored: tuple[str, ...], seen: tuple[str, ...]) -> str | None:
    """How the kernel's table differs from what its file makes; None where it does not.

    Where the latter could not be had, a table that is there must do.
    """
    if not seen:
        return "the kernel has no rules of it"
    if not stored or stored == seen:
        return None
    lost = [line for line in stored if line not in seen]
    more = [line for line in seen if line not in stored]
    said = [f"lacks `{line}`" for line in lost] + [f"also has `{line}`" for line in more]
    return f"the kernel's table {' and '.join(said) or 'has its rules in another number or order'}"


def unit(node: str, nft: str) -> bytes:
    """The systemd unit that loads the rules, with nft(8) at that path."""
    return _UNIT.format(node=node, nft=nft, rules=RULES, table=TABLE).encode()


# Before network-pre.target, as firewalls are (systemd.special(7)): no packet is forwarded unseen.
# Never stopped by a shutdown, so there neither. Debian's nftables.service flushes *all* rules
# whenever it stops or reloads, so this one restarts and reloads with it.
_UNIT = """\
# Written by `smolmon setup`.
[Unit]
Description=smolmon: edge segments kept apart ({node})
DefaultDependencies=no
RequiresMountsFor={rules}
After=local-fs.target nftables.service
Wants=network-pre.target
Before=network-pre.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={nft} -f {rules}
ExecReload={nft} -f {rules}
ExecStop=-{nft} delete table ip {table}
CapabilityBoundingSet=CAP_NET_ADMIN
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
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=sysinit.target
"""
