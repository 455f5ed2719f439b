"""A model of what macOS' tools print and do, written from their documentation (docs/macos.md).

A Mac's state is a plain dictionary, so that it can be kept in a file between two programs. What
is *stored* (`services`) becomes what is *live* where it changes, and only that: nobody puts a live
address or route back that was taken away by hand. Errors are printed on standard output, with
status 0.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

State = dict[str, Any]
PROSE = "An asterisk (*) denotes that a network service is disabled.\n"


def service(name: str, device: str, port: str, **changes: Any) -> State:
    """A network service as macOS makes it."""
    made = {"name": name, "device": device, "port": port, "enabled": True, "method": "dhcp"}
    made |= {"address": "", "mask": "", "router": "", "routes": [], "ipv6": "Automatic"}
    return made | changes


def mini(**changes: Any) -> State:
    """A Mac mini with a USB adapter, nobody having set up anything but its Wi-Fi."""
    state: State = {
        "services": [
            service("USB 10/100/1000 LAN", "en5", "USB 10/100/1000 LAN"),
            service("Wi-Fi", "en1", "Wi-Fi"),
            service("Thunderbolt Bridge", "bridge0", "Thunderbolt Bridge"),
        ],
        "macs": {
            "en1": "dc:a4:ca:f3:67:03",
            "en2": "82:15:07:f3:c5:40",
            "en5": "9c:eb:e8:98:0e:62",
            "bridge0": "82:15:07:f3:c5:40",
        },
        "hidden": ["bridge0"],  # from -listallhardwareports
        "live": {"en1": {"addresses": ["192.168.1.11/24"], "routes": [["default", "192.168.1.1"]]}},
        "inactive": [],
        "mtu": {},
        "private": {},  # addresses in use that are not the hardware's, by device
        "location": "Automatic",
        "forwarding": 0,
        "firewall": 0,
        "stealth": False,
        "apps": [],
        "jobs": {},
        "disabled": [],
        "pmset": {"sleep": 0, "womp": 1, "autorestart": 1},
        "thunderbolt": "{}",
        "fails": {},  # by option: how often it will
        "arp": {},  # static entries: MAC address and device, by address
        "pf": {"rules": "", "tokens": []},
        "wipes": False,  # whether -setmanual loses the additional routes
    }
    return state | changes


def device_of(state: State, device: str) -> State:
    """What is live on a device."""
    live: State = state["live"].setdefault(device, {"addresses": [], "routes": []})
    return live


def change(state: State, one: State, **changes: Any) -> None:
    """Store something else for a service, and make the kernel follow: only what differs."""
    before = _asks(state, one)
    one |= changes
    after = _asks(state, one)
    live = device_of(state, one["device"])
    for what in ("addresses", "routes"):
        kept = [x for x in live[what] if x not in before[what] or x in after[what]]
        new = [x for x in after[what] if x not in before[what]]
        if what == "routes":  # the kernel has one for each destination
            there = {r[0] for r in kept}
            new = [r for r in new if r[0] not in there]
        live[what] = [*kept, *(x for x in new if x not in kept)]


def _asks(state: State, one: State) -> State:
    """What a service wants of the kernel; without a link there is nothing."""
    if (one["method"], one["enabled"]) != ("manual", True) or one["device"] in state["inactive"]:
        return {"addresses": [], "routes": []}
    routes = [[str(IPv4Network(f"{d}/{m}")), g] for d, m, g in one["routes"]]
    return {
        "addresses": [str(IPv4Interface(f"{one['address']}/{one['mask']}"))],
        "routes": routes + ([["default", one["router"]]] if one["router"] else []),
    }


def networksetup(state: State, args: list[str]) -> str:  # noqa: PLR0911
    """networksetup(8)."""
    option, rest = args[0], args[1:]
    if state["fails"].get(option, 0) > 0:
        state["fails"][option] -= 1
        return "** Error: The parameters were not valid.\n"
    if option == "-getcurrentlocation":
        return f"{state['location']}\n"
    if option == "-listnetworkserviceorder":
        return PROSE + "".join(
            f"({number if s['enabled'] else '*'}) {s['name']}\n"
            f"(Hardware Port: {s['port']}, Device: {s['device']})\n\n"
            for number, s in enumerate(state["services"], 1)
        )
    if option == "-listallhardwareports":
        ports = {s["device"]: s["port"] for s in state["services"]}
        return "\n" + "\n".join(
            f"Hardware Port: {ports.get(d, d)}\nDevice: {d}\nEthernet Address: {mac}\n"
            for d, mac in state["macs"].items()
            if d not in state["hidden"]
        )
    if option == "-createnetworkservice":
        if any(s["name"] == rest[0] for s in state["services"]) or rest[1] not in state["macs"]:
            return "** Error: The parameters were not valid.\n"
        state["services"].append(service(rest[0], rest[1], rest[1]))
        return ""
    one = next((s for s in state["services"] if s["name"] == rest[0]), None)
    if one is None:
        return f"{rest[0]} is not a recognized network service.\n"
    return _of_service(state, option, one, rest[1:])


def _of_service(state: State, option: str, one: State, rest: list[str]) -> str:
    if option == "-getinfo":
        return _info(state, one)
    if option == "-getadditionalroutes":
        none = f"There are no additional IPv4 routes on {one['name']}.\n"
        return "".join(f"{' '.join(r)}\n" for r in one["routes"]) or none
    match option:
        case "-setmanual":
            wiped = {"routes": []} if state["wipes"] else {}
            address = {"address": rest[0], "mask": rest[1], "router": rest[2]}
            change(state, one, method="manual", **address, **wiped)
        case "-setdhcp":
            change(state, one, method="dhcp", address="", mask="", router="")
        case "-setadditionalroutes":
            assert len(rest) % 3 == 0
            change(state, one, routes=[rest[i : i + 3] for i in range(0, len(rest), 3)])
        case "-setv6LinkLocal" | "-setv6automatic":
            one["ipv6"] = "Automatic" if option == "-setv6automatic" else "Link-Local"
        case "-setnetworkserviceenabled":
            change(state, one, enabled=rest == ["on"])
        case "-removenetworkservice":
            change(state, one, enabled=False)
            state["services"].remove(one)
        case _:
            raise AssertionError(f"the model does not know {option}")
    return ""


def _info(state: State, one: State) -> str:
    mac = state["macs"].get(one["device"], "none")
    tail = f"IPv6: {one['ipv6']}\nIPv6 IP address: none\nIPv6 Router: none\n"
    tail += f"Ethernet Address: {mac}\n"
    if one["method"] == "manual":
        lines = f"IP address: {one['address']}\nSubnet mask: {one['mask']}\n"
        return f"Manual Configuration\n{lines}Router: {one['router'] or '(null)'}\n{tail}"
    if one["device"] == "en1":
        return (
            "DHCP Configuration\nIP address: 192.168.1.11\nSubnet mask: 255.255.255.0\n"
            f"Router: 192.168.1.1\nClient ID: \n{tail}"
        )
    return f"DHCP Configuration\nClient ID: \n{tail}"


def ifconfig(state: State, args: list[str]) -> str:
    """ifconfig(8)."""
    if args[1:]:
        live = device_of(state, args[0])
        if args[-1] == "-alias":
            live["addresses"] = [a for a in live["addresses"] if a.split("/")[0] != args[2]]
        else:
            live["addresses"].append(str(IPv4Interface(f"{args[2]}/{args[4]}")))
        return ""
    text = "lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384\n"
    text += "\tinet 127.0.0.1 netmask 0xff000000\n"
    for device, mac in state["macs"].items():
        text += f"{device}: flags=8863<UP,BROADCAST,RUNNING> mtu {state['mtu'].get(device, 1500)}\n"
        text += f"\tether {state['private'].get(device, mac)}\n"
        for address in map(IPv4Interface, device_of(state, device)["addresses"]):
            text += f"\tinet {address.ip} netmask {int(address.netmask):#x}\n"
        if device == "en1":
            text += "\tinet6 fe80::c1d:55aa:9f3e:1%en1 prefixlen 64 secured scopeid 0xf \n"
        if device.startswith("bridge"):
            text += "\tmember: en2 flags=3<LEARNING,DISCOVER>\n"
        text += f"\tstatus: {'inactive' if device in state['inactive'] else 'active'}\n"
    return text


def netstat(state: State, args: list[str]) -> str:
    """netstat(1)."""
    if "-rn" not in args:
        port = "9742" if "dev.smolmon.exporter" in state["jobs"] else "9743"
        return (
            "Active Internet connections (including servers)\n"
            f"tcp4       0      0  192.168.1.11.{port}      *.*                    LISTEN     \n"
        )
    text = "Routing tables\n\nInternet:\nDestination Gateway Flags Netif Expire\n"
    for device, live in state["live"].items():
        for address in map(IPv4Interface, live["addresses"]):
            text += f"{address.network} link#7 UCS {device} !\n"
            text += f"{address.ip}/32 link#7 UCS {device} !\n"
        for destination, gateway in live["routes"]:
            text += f"{destination} {gateway} UGSc {device}\n"
    return text + "10.10.0.77 36:90:11:cc:f:40 UHLWIi en1 1134\n"


def route(state: State, args: list[str]) -> str:
    """route(8): add and delete."""
    _, word, kind, destination, gateway = args
    assert kind == "-net"
    if word == "delete":
        for live in state["live"].values():
            live["routes"] = [r for r in live["routes"] if r != [destination, gateway]]
        return f"delete net {destination}: gateway {gateway}\n"
    for live in state["live"].values():
        if any(r[0] == destination for r in live["routes"]):
            return "route: writing to routing socket: File exists\n"
        if any(IPv4Interface(gateway) in IPv4Interface(a).network for a in live["addresses"]):
            live["routes"].append([destination, gateway])
    return f"add net {destination}: gateway {gateway}\n"


def sysctl(state: State, args: list[str]) -> str:
    """sysctl(8)."""
    name = "net.inet.ip.forwarding"
    if args[0] == "-w":
        before, state["forwarding"] = state["forwarding"], int(args[1].partition("=")[2])
        return f"{name}: {before} -> {state['forwarding']}\n"
    return f"{state['forwarding']}\n" if args[0] == "-n" else f"{name}: {state['forwarding']}\n"


def socketfilterfw(state: State, args: list[str]) -> str:
    """The application firewall."""
    match args:
        case ["--getglobalstate"]:
            return f"Firewall is something. (State = {state['firewall']})\n"
        case ["--getstealthmode"]:
            return f"Firewall stealth mode is {'on' if state['stealth'] else 'off'}\n"
        case ["--listapps"]:
            text = f"Total number of apps = {len(state['apps'])} \n\n"
            for number, (path, allowed) in enumerate(state["apps"], 1):
                verdict = "Allow" if allowed else "Block"
                text += f"{number} : {path} \n             ({verdict} incoming connections) \n\n"
            return text
        case ["--add", path]:
            state["apps"] = [a for a in state["apps"] if a[0] != path] + [[path, False]]
        case ["--unblockapp", path]:
            state["apps"] = [[p, allowed or p == path] for p, allowed in state["apps"]]
        case ["--remove", path]:
            state["apps"] = [a for a in state["apps"] if a[0] != path]
        case _:
            raise AssertionError(f"the model does not know {args}")
    return ""


def arp(state: State, args: list[str]) -> str:
    """arp(8): entries set by hand, which need the interface's address."""
    if args == ["-an"]:
        return "".join(
            f"? ({a}) at {mac} on {device} ifscope permanent [ethernet]\n"
            for a, (mac, device) in state["arp"].items()
        )
    if args[0] == "-n":
        known = arp(state, ["-an"]).splitlines()
        return "".join(f"{line}\n" for line in known if f"({args[1]})" in line)
    if args[0] == "-d":
        state["arp"].pop(args[1], None)
        return ""
    _, address, mac, word, device = args
    assert word == "ifscope"
    here = [IPv4Interface(a).network for a in device_of(state, device)["addresses"]]
    if not any(IPv4Address(address) in network for network in here):
        return f"cannot intuit interface index and type for {address}\n"
    short = ":".join(f"{int(octet, 16):x}" for octet in mac.split(":"))
    state["arp"][address] = [short, device]
    return ""


def pfctl(state: State, args: list[str]) -> str:
    """pfctl(8), of our anchor; its files are read by the program."""
    pf = state["pf"]
    match args:
        case ["-s", "info"]:
            return f"Status: {'Enabled' if pf['tokens'] else 'Disabled'} for 0 days\n"
        case ["-s", "References"]:
            return "".join(f"4063 pfctl {t} 0 days 00:00:00\n" for t in pf["tokens"])
        case ["-a", _, "-s", "rules"]:
            return str(pf["rules"])
        case ["-q", "-a", _, "-F", "rules"]:
            pf["rules"] = ""
        case ["-q", "-onone", "-a", _, "-f", text]:
            pf["rules"] = text
        case ["-E"]:
            pf["tokens"].append(str(4711 + len(pf["tokens"])))
            return f"pf enabled\nToken : {pf['tokens'][-1]}\n"
        case ["-X", token]:
            pf["tokens"].remove(token)
        case _:
            raise AssertionError(f"the model does not know {args}")
    return ""


def pmset(state: State, args: list[str]) -> str:
    """pmset(1)."""
    return "Currently in use:\n" + "".join(f" {k}   {v}\n" for k, v in state["pmset"].items())


def print_job(state: State, label: str) -> str:
    """`launchctl print system/LABEL`; empty for a label that is not known."""
    job = state["jobs"].get(label)
    if job is None:
        return ""
    running = f"\tstate = running\n\tpid = {job['pid']}\n" if job["pid"] else "\tstate = waiting\n"
    return f"system/{label} = {{\n{running}}}\n"


def print_disabled(state: State) -> str:
    """`launchctl print-disabled system`."""
    rows = "".join(f'\t\t"{label}" => disabled\n' for label in state["disabled"])
    return f"\tdisabled services = {{\n{rows}\t}}\n"


TOOLS = {
    "arp": arp,
    "pfctl": pfctl,
    "networksetup": networksetup,
    "ifconfig": ifconfig,
    "netstat": netstat,
    "route": route,
    "sysctl": sysctl,
    "socketfilterfw": socketfilterfw,
    "pmset": pmset,
}
