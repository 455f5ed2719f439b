"""Reasons not to touch a node at all, each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from smolmon.setup.linux import removal
from smolmon.setup.linux.facts import Connection, Facts, Interface, KernelRoute, Profile
from smolmon.setup.linux.wanted import Link, Wanted, called_ours
from smolmon.setup.shell import command

OLDEST_PYTHON = (3, 10)
OLDEST_SYSTEMD = 247  # the first with LoadCredential=


def refusals(wanted: Wanted, facts: Facts) -> list[str]:
    """One line for each reason; empty when the plan may be carried out."""
    return [
        *_sudo(wanted, facts),
        *(_needs(facts) if facts.exporter_asked else ()),
        *_network_manager(facts),
        *_nft(wanted, facts),
        *(line for link in wanted.links for line in _port(link, facts)),
        *_stray(wanted, facts),
        *_overlaps(wanted, facts),
        *_management(wanted, facts),
    ]


def removal_refusals(wanted: Wanted, facts: Facts) -> list[str]:
    """One line for each reason not to take smolmon off the node."""
    return [*_sudo(wanted, facts), *_network_manager(facts), *removal.refusals(wanted, facts)]


def _sudo(wanted: Wanted, facts: Facts) -> Iterator[str]:
    if not facts.sudo:
        line = f"{facts.user} ALL=(ALL) NOPASSWD: ALL"
        yield (
            f"sudo asks {facts.user} for a password; allow what setup does with what "
            f"`smolmon setup --sudoers {wanted.node}` prints, or everything: on the node, as an "
            f"administrator: echo '{line}' | sudo tee /etc/sudoers.d/smolmon"
        )


def _needs(facts: Facts) -> Iterator[str]:
    """What the exporter needs; a network does without."""
    yield from _python(facts)
    yield from _systemd(facts)


def _python(facts: Facts) -> Iterator[str]:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if facts.python_version is None:
        yield f"there is no python3; install {oldest} or newer: sudo apt install python3"
    elif facts.python_version < OLDEST_PYTHON:
        seen = ".".join(map(str, facts.python_version))
        yield (
            f"{facts.python} is Python {seen}; smolmon needs {oldest} or newer: upgrade the "
            "distribution, or put a newer python3 into /usr/local/bin"
        )


def _systemd(facts: Facts) -> Iterator[str]:
    if facts.systemd is None or facts.systemd < OLDEST_SYSTEMD:
        seen = "there is no systemd" if facts.systemd is None else f"systemd is {facts.systemd}"
        yield (
            f"{seen}; smolmon needs {OLDEST_SYSTEMD} or newer, which hands a service its key "
            "(LoadCredential=): upgrade the distribution"
        )


def _network_manager(facts: Facts) -> Iterator[str]:
    if not facts.nm_running:
        yield (
            "NetworkManager does not run; start it: sudo systemctl enable --now NetworkManager "
            "(smolmon does not set up systemd-networkd or ifupdown)"
        )


def _nft(wanted: Wanted, facts: Facts) -> Iterator[str]:
    if wanted.fence is not None and "nft" not in facts.programs:
        yield (
            "there is no nft, which `isolation: enforce` needs on a gateway: "
            "sudo apt install nftables"
        )


def _port(link: Link, facts: Facts) -> Iterator[str]:
    profile = link.profile
    called = profile.mac or profile.interface
    port = facts.interface(profile.interface, profile.mac)
    if port is None:
        yield f"{link.segment}: there is no interface {called}; wired ones here: {_wired(facts)}"
        return
    if profile.interface and port.name != profile.interface:
        yield (
            f"{link.segment}: {profile.mac} is {port.name}, not {profile.interface}; "
            "correct the one or the other in the cluster file"
        )
    if port.name == _session(facts):
        yield (
            f"{link.segment}: {port.name} carries this SSH session; smolmon never changes it. "
            "Reach the node another way (Wi-Fi), or declare another interface"
        )
        return
    if _carries_internet(link, port, facts):
        yield (
            f"{link.segment}: {port.name} carries the default route; smolmon never changes it. "
            "Declare another interface, or move the default route to Wi-Fi first"
        )
    if port.master:
        yield (
            f"{link.segment}: {port.name} is a port of {port.master}; smolmon never takes it out. "
            f"Take it out by hand, or declare another interface. Wired ones here: {_wired(facts)}"
        )
    for upper in dict.fromkeys((_session(facts), *facts.default_interfaces)):
        if upper and port.name in facts.below(upper):
            what = "this SSH session" if upper == _session(facts) else "the default route"
            yield (
                f"{link.segment}: {port.name} is below {upper}, which carries {what}; smolmon "
                "never changes it. Declare another interface, or move that to Wi-Fi first"
            )
    device = facts.device(port.name)
    if not facts.nm_running:
        return
    if device is None or device.state == "unmanaged":
        yield (
            f"{link.segment}: NetworkManager does not manage {port.name}; "
            f"sudo nmcli device set {port.name} managed yes (see also unmanaged-devices in "
            "/etc/NetworkManager)"
        )
    elif device.kind != "ethernet":
        # Taking over a bridge makes NetworkManager detach the ports it did not attach.
        yield (
            f"{link.segment}: {port.name} is a {device.kind}; smolmon sets up plain Ethernet "
            f"interfaces only. Wired ones here: {_wired(facts)}"
        )


def _session(facts: Facts) -> str | None:
    """The interface that must stay as it is; where it cannot be told, the default route's."""
    return facts.ssh_interface or next(iter(facts.default_interfaces), None)


def _carries_internet(link: Link, port: Interface, facts: Facts) -> bool:
    """Our own profile that was given a default route is a deviation to repair, not the uplink."""
    if port.name not in facts.default_interfaces:
        return False
    applied = facts.applied.get(port.name)
    return applied is None or applied.uuid != link.profile.uuid


def _wired(facts: Facts) -> str:
    names = [d.name for d in facts.devices if d.kind == "ethernet" and d.state != "unmanaged"]
    return ", ".join(names) or "none that NetworkManager manages"


def _stray(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Profiles of ours that the plan would move or delete, active where nothing may change."""
    session = _session(facts)
    for connection in facts.connections:
        ours = _ours(connection, wanted)
        if ours and connection.device and connection.device == session:
            yield (
                f"the profile {connection.name} is active on {session}, which carries this SSH "
                "session; give it another name: "
                f"{command('sudo', 'nmcli', 'connection', 'modify', 'uuid', connection.uuid)} "
                "connection.id NAME"
            )


def _ours(profile: Connection | Profile, wanted: Wanted) -> bool:
    return called_ours(profile) or profile.uuid in wanted.uuids


def _overlaps(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Two networks of the same addresses: one of them would silently stop working."""
    targets = {
        port.name
        for link in wanted.links
        if (port := facts.interface(link.profile.interface, link.profile.mac))
    }
    # Where one of ours is active already, it gives way to the plan.
    targets |= {d for d, p in facts.applied.items() if _ours(p, wanted)}
    for name, subnet in (*wanted.declared, *wanted.wifi):
        # The Wi-Fi's own interface has the subnet by right, and its router's routes.
        mine = targets if (name, subnet) in wanted.declared else targets | _uplinks(facts)
        for interface in facts.interfaces:
            for address in interface.addresses:
                if interface.name not in mine and address.network.overlaps(subnet):
                    yield (
                        f"{subnet} of {name} overlaps {address} on {interface.name}; choose "
                        "another subnet in the cluster file, or remove that address"
                    )
        for route in facts.routes:
            if (
                route.device not in mine
                and route.destination.prefixlen > 0
                and route.destination.overlaps(subnet)
                and not _by_address(route, facts)
            ):
                yield (
                    f"{subnet} of {name} overlaps the route {_said(route)}; remove it "
                    f"(sudo ip route del {_said(route)}), or choose another subnet"
                )


def _uplinks(facts: Facts) -> set[str | None]:
    """The interfaces by which the node is reached and reaches the internet."""
    return {facts.ssh_interface, *facts.default_interfaces}


def _by_address(route: KernelRoute, facts: Facts) -> bool:
    """Whether the route came with an interface's own address, which is told already."""
    own = facts.interface(route.device)
    return own is not None and any(a.network == route.destination for a in own.addresses)


def _said(route: KernelRoute) -> str:
    kind = "" if route.kind == "unicast" else f"{route.kind} "
    via = f" via {route.gateway}" if route.gateway else ""
    device = f" dev {route.device}" if route.device else ""
    return f"{kind}{route.destination}{via}{device}"


def _management(wanted: Wanted, facts: Facts) -> Iterator[str]:
    try:
        ip_address(wanted.management)
    except ValueError:
        return  # a name: the exporter listens where this session arrived
    here = [str(a.ip) for i in facts.interfaces for a in i.addresses]
    here += [address for i in facts.interfaces for address in i.ipv6]
    if wanted.management not in here:
        yield (
            f"its management address {wanted.management} is on none of its interfaces, so its "
            "exporter could not listen there; correct `management` in the cluster file"
        )
