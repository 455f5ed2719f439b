"""Network services: what is stored of them, and how that gets into the kernel.

macOS keeps what was set apart from what is live: a service whose interface has no link has no
address and no routes, and gets them back when the link does (seen, and configd's IPMonitor).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.kernel import KernelError, Link
from smolmon.lab.mac.state import Table

FILE = "preferences.json"
WIFI_METRIC = 600
# A service before Wi-Fi in the order takes the default route from it, one after it does not.
BEFORE_WIFI, AFTER_WIFI = 100, 700


def stored() -> Table:
    """The preferences. As on a Mac nobody has set up: every port has a service that asks DHCP."""
    found = state.read(FILE)
    if found:
        return found
    return {
        "location": "Automatic",
        "services": [new(port["service"], port) for port in kernel.ports() if port.get("service")],
    }


def new(name: str, port: Table) -> Table:
    """A service as macOS makes it."""
    return {
        "name": name,
        "port": port["port"],
        "device": port["device"],
        "enabled": True,
        "method": "dhcp",
        "address": None,
        "mask": None,
        "router": None,
        "routes": [],
        "v6": "Automatic",
    }


def port_of(service: Table) -> Table | None:
    """The hardware port of a service."""
    return next((p for p in kernel.ports() if p["device"] == service["device"]), None)


def link_local(link: Link) -> IPv4Interface:
    """The address that a Mac gives itself where no DHCP server answers (RFC 3927).

    Chosen by the hardware address, as the RFC wants it, so that it is the same every time.
    """
    low = [int(octet, 16) for octet in link.mac.split(":")[-2:]]
    return IPv4Interface((f"169.254.{low[0] % 254 + 1}.{low[1]}", 16))


def wanted(service: Table, port: Table, link: Link) -> list[IPv4Interface]:
    """The addresses of a service while its link is active."""
    if service["method"] == "manual":
        return [IPv4Interface((service["address"], str(IPv4Address(service["mask"]))))]
    if port.get("addresses"):  # the lab's Wi-Fi router has a lease for it
        return [IPv4Interface(address) for address in port["addresses"]]
    return [link_local(link)]


def router(service: Table, port: Table) -> str | None:
    """The default gateway of a service."""
    found = service["router"] if service["method"] == "manual" else port.get("router")
    return found or None


def metric(service: Table) -> int:
    """Where the default route of a service stands: Linux has no order of services."""
    if service["port"] == "Wi-Fi":
        return WIFI_METRIC
    order = [s["port"] for s in stored()["services"]]
    wifi = order.index("Wi-Fi") if "Wi-Fi" in order else len(order)
    place = order.index(service["port"]) if service["port"] in order else len(order)
    return (BEFORE_WIFI if place < wifi else AFTER_WIFI) + place


def apply(service: Table, before: Table | None = None) -> bool:
    """Bring a service's stored settings into the kernel; whether it is live.

    `before`: what was stored until now; routes that it had and `service` has not are taken away.
    Only what differs is touched, so that connections over the rest live on.
    """
    seen = kernel.links()
    port = port_of(service)
    link = seen.get(service["device"])
    if port is None or link is None:
        return False
    device = link.name
    if not (service["enabled"] and kernel.active(port, seen)):
        _clear(device)
        return False
    addresses = wanted(service, port, link)
    have = {f"{a.address}/{a.length}" for a in link.addresses if a.family == 4}
    for address in have - {str(a) for a in addresses}:
        kernel.ip("address", "delete", address, "dev", device)
        _forget(device, address)
    for new_address in addresses:
        if str(new_address) not in have:
            _add(device, new_address)
    _routes(service, before, port, device)
    return True


def _forget(device: str, address: str) -> None:
    """Entries of the ARP table are routes on a Mac, and go with the address that they came by."""
    for entry in kernel.neighbours():
        here = IPv4Address(entry["dst"]) in IPv4Interface(address).network
        if entry["dev"] == device and here:
            _quietly("neighbor", "delete", entry["dst"], "dev", device)


def _add(device: str, address: IPv4Interface) -> None:
    # Only one interface has the route of 169.254/16 (seen); nothing here needs it.
    local = ["scope", "link", "noprefixroute"] if address.ip.is_link_local else []
    kernel.ip("address", "add", str(address), "broadcast", "+", "dev", device, *local)


def _routes(service: Table, before: Table | None, port: Table, device: str) -> None:
    gone = [r for r in (before or {}).get("routes", []) if r not in service["routes"]]
    for destination, mask, gateway in gone:
        _quietly("route", "delete", _network(destination, mask), "via", gateway, "dev", device)
    for destination, mask, gateway in service["routes"]:
        route = [_network(destination, mask), "via", gateway, "dev", device]
        # A gateway that is not on the link is accepted, and stays without effect.
        _quietly("route", "replace", *route, "proto", "static")
    way = router(service, port)
    mine = [r for r in kernel.routes() if r["dst"] == "default" and r.get("dev") == device]
    for route_ in mine:
        if route_.get("gateway") != way:
            _quietly("route", "delete", "default", "dev", device)
    if way and way not in {r.get("gateway") for r in mine}:
        _quietly(
            "route", "add", "default", "via", way, "dev", device, "metric", str(metric(service))
        )


def _clear(device: str) -> None:
    """Take every address and route of a device."""
    _quietly("-4", "route", "flush", "dev", device)
    _quietly("-4", "address", "flush", "dev", device)
    _quietly("-4", "neighbor", "flush", "dev", device, "nud", "all")


def _quietly(*words: str) -> None:
    try:
        kernel.ip(*words)
    except KernelError:
        return


def _network(destination: str, mask: str) -> str:
    return str(IPv4Network((destination, mask), strict=False))
