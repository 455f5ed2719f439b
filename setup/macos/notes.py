"""What setup sees on a Mac and does not change, each with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.macos.ifconfig import Interface
from smolmon.macos.networksetup import Method
from smolmon.macos.socketfilterfw import FirewallState
from smolmon.setup.macos.facts import Facts, StoredService
from smolmon.setup.macos.wanted import Wanted, port_of
from smolmon.setup.shell import command

USUAL_MTU = 1500


def notes(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """One line each."""
    yield from _links(wanted, facts)
    yield from _sleep(facts)
    yield from _wifi(facts)
    yield from _firewall(facts)
    if facts.sysctl_conf:
        yield (
            "/etc/sysctl.conf asks for forwarding, but macOS 11 and newer do not read it; "
            "those lines can go"
        )
    for service in facts.services:
        if _left_behind(service, wanted, facts):
            yield (
                f"the service {service.name} keeps {_address(service)} for {service.device}, which "
                "is not plugged in; unless it returns, remove it: "
                f"{command('sudo', 'networksetup', '-removenetworkservice', service.name)}"
            )


def _links(wanted: Wanted, facts: Facts) -> Iterator[str]:
    for link in wanted.links:
        port = port_of(link, facts)
        if port is None:
            continue
        if port.active is False:
            yield (
                f"{link.segment}: {port.name} has no link, so its settings are only stored; plug "
                "the cable in, and macOS puts them into effect"
            )
        if port.mtu not in (None, USUAL_MTU):
            yield (
                f"{link.segment}: {port.name} has an MTU of {port.mtu}; every node of the segment "
                "must have the same"
            )


def _sleep(facts: Facts) -> Iterator[str]:
    wrong = ["sleep 0"] if facts.power.sleeps else []
    for key in ("autorestart", "womp"):
        if facts.power.settings.get(key) == 0:
            wrong.append(f"{key} 1")
    if facts.power.sleeps:
        yield f"it goes to sleep by itself; to keep it awake: sudo pmset -a {' '.join(wrong)}"
    elif wrong:
        yield f"it does not come back by itself; to change that: sudo pmset -a {' '.join(wrong)}"


def _wifi(facts: Facts) -> Iterator[str]:
    for port in facts.ports:
        here = facts.interface(port.device)
        if port.name == "Wi-Fi" and here and here.mac != port.mac and _private(here):
            yield (
                f"Wi-Fi ({here.name}) uses a private address, so its IP address may change; in "
                "System Settings > Wi-Fi > Details, set Private Wi-Fi address to Off"
            )


def _private(interface: Interface) -> bool:
    """Whether its MAC address was made up: IEEE 802's bit for that is set.

    networksetup goes on to print the hardware's own.
    """
    return interface.mac is not None and bool(int(interface.mac[:2], 16) & 2)


def _firewall(facts: Facts) -> Iterator[str]:
    wall = facts.firewall
    if wall.state is FirewallState.BLOCK_ALL:
        yield (
            "its firewall blocks all incoming connections, so neither the exporter nor the "
            "training server can be reached; choose what to allow in System Settings > Network"
        )
    if wall.state is FirewallState.ON:
        yield (
            "its firewall is on: the interpreter that trains needs a rule of its own, "
            "sudo /usr/libexec/ApplicationFirewall/socketfilterfw --add PATH --unblockapp PATH"
        )
    if wall.state is not FirewallState.OFF and wall.stealth:
        yield (
            "its firewall is in stealth mode and drops pings, so every link to it will look "
            "broken; sudo /usr/libexec/ApplicationFirewall/socketfilterfw --setstealthmode off"
        )


def _left_behind(service: StoredService, wanted: Wanted, facts: Facts) -> bool:
    """An adapter in another socket is another device to macOS, and the old service stays."""
    info = service.info
    return (
        facts.interface(service.device) is None
        and info is not None
        and info.method is Method.MANUAL
        and info.address is not None
        and wanted.contains(info.address)
    )


def _address(service: StoredService) -> str:
    return str(service.info.address) if service.info else ""
