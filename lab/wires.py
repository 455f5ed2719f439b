"""From the plan to namespaces, cables and addresses, by ip(8)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from smolmon.lab.errors import LabError
from smolmon.lab.plan import INTERNET, WIFI_BRIDGE, WIFI_METRIC, End, Plan, namespace

NETNS = Path("/run/netns")

# Set for every namespace, since a new one starts from the values of the machine that runs the lab.
# ping_group_range is what systemd sets at boot on a distribution (sysctl.d/50-default.conf).
SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}


def lay(plan: Plan) -> None:
    """Make every namespace and everything between them. Raises LabError."""
    _ip(namespaces(plan))
    for name in plan.namespaces:
        sysctls = dict(SYSCTLS)
        if name == namespace(INTERNET):
            sysctls["net/ipv4/ip_forward"] = "1"  # it is a router
        write_sysctls(name, sysctls)
    _ip(cables(plan))
    for name in plan.namespaces:
        _ip(inside(plan, name), name)


def namespaces(plan: Plan) -> list[str]:
    """The commands, for `ip -batch`, that make the namespaces."""
    return [f"netns add {name}" for name in plan.namespaces]


def cables(plan: Plan) -> list[str]:
    """The commands that put a cable's two ends into their namespaces."""
    return [f"link add {_end(c.a)} type veth peer {_end(c.b)}" for c in plan.cables]


def _end(end: End) -> str:
    mac = f" address {end.mac}" if end.mac else ""
    return f"name {end.interface}{mac} netns {namespace(end.machine)}"


def inside(plan: Plan, name: str) -> list[str]:
    """The commands that finish the namespace `name`: switches, addresses, routes."""
    return ["link set lo up", *_switches(plan, name), *_links_up(plan, name), *_wifi(plan, name)]


def _switches(plan: Plan, name: str) -> Iterator[str]:
    for switch in plan.switches:
        if namespace(switch.machine) != name:
            continue
        yield (
            f"link add name {switch.name} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
        )
        for device in (switch.name, *switch.ports):  # a switch has no address of its own
            yield f"link set {device} addrgenmode none"
        if switch.name != WIFI_BRIDGE:
            # Nor does it answer for those of its machine, as Linux otherwise does on every device.
            yield f"link set {switch.name} arp off"
        yield f"link set {switch.name} up"
        for port in switch.ports:
            yield f"link set {port} master {switch.name}"


def _links_up(plan: Plan, name: str) -> Iterator[str]:
    for cable in plan.cables:
        for end in (cable.a, cable.b):
            if namespace(end.machine) == name:
                yield f"link set {end.interface} up"


def _wifi(plan: Plan, name: str) -> Iterator[str]:
    if name == namespace(INTERNET):
        for lan in plan.lans:
            yield f"address add {lan.router}/{lan.subnet.prefixlen} dev {WIFI_BRIDGE}"
        if plan.internet:
            yield f"address add {plan.internet}/32 dev lo"
        return
    machine = next(m for m in plan.machines if m.namespace == name)
    for address in machine.addresses:
        yield f"address add {address} broadcast + dev {machine.wifi}"
    yield f"route add default via {machine.gateway} dev {machine.wifi} metric {WIFI_METRIC}"


def write_sysctls(name: str, values: dict[str, str]) -> None:
    """Write `values`, by path below /proc/sys, in the namespace `name`."""
    script = "".join(f"echo {value} >/proc/sys/{path}\n" for path, value in values.items())
    _run(["nsenter", f"--net={NETNS / name}", "sh", "-e"], script)


def _ip(commands: list[str], name: str | None = None) -> None:
    where = ["-netns", name] if name else []
    _run(["ip", *where, "-batch", "-"], "".join(f"{command}\n" for command in commands))


def _run(argv: list[str], text: str) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"exit {done.returncode}").splitlines()
        raise LabError(f"wiring the emulated network: {' '.join(argv[:4])}: {said[0]}")
