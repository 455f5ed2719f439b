"""`/sbin/ifconfig`, after Apple's ifconfig.tproj and recorded output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.kernel import KernelError, Link
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, say, short_mac

ETHERNET = "8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST>"
ETHERNET_DOWN = "8822<BROADCAST,SMART,SIMPLEX,MULTICAST>"
MEMBER = "8963<UP,BROADCAST,SMART,RUNNING,PROMISC,SIMPLEX,MULTICAST>"
BRIDGE_OPTIONS = "63<RXCSUM,TXCSUM,TSO4,TSO6>"
MEDIA = {"wifi": "autoselect", "ethernet": "autoselect (1000baseT <full-duplex>)"}


def main(argv: Sequence[str]) -> int:
    """Run `ifconfig argv`."""
    seen = kernel.links()
    if list(argv) in ([], ["-a"]):
        sys.stdout.write("".join(everything(seen)))
        return 0
    if list(argv) == ["-l"]:
        names = [p["device"] for p in kernel.ports()]
        members = [m["device"] for p in kernel.ports() for m in p.get("members", ())]
        say(" ".join(["lo0", *names, *members]))
        return 0
    name, *words = argv
    block = _one(name, seen)
    if block is None:
        complain(f"ifconfig: interface {name} does not exist")
        return 1
    if not words:
        sys.stdout.write(block)
        return 0
    return _set(name, words)


def everything(seen: dict[str, Link]) -> list[str]:
    """The blocks of all interfaces, members of bridges before their bridge."""
    blocks = [_loopback(seen["lo"])]
    for port in kernel.ports():
        blocks += [_member(member, port, seen) for member in port.get("members", ())]
        if port["device"] in seen:
            blocks.append(_port(port, seen))
    return blocks


def _one(name: str, seen: dict[str, Link]) -> str | None:
    if name == "lo0":
        return _loopback(seen["lo"])
    for port in kernel.ports():
        if port["device"] == name and name in seen:
            return _port(port, seen)
        for member in port.get("members", ()):
            if member["device"] == name:
                return _member(member, port, seen)
    return None


def _loopback(link: Link) -> str:
    return (
        "lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384\n"
        "\toptions=1203<RXCSUM,TXCSUM,TXSTATUS,SW_TIMESTAMP>\n"
        f"{_addresses(link)}\tnd6 options=201<PERFORMNUD,DAD>\n"
    )


def _port(port: Table, seen: dict[str, Link]) -> str:
    link = seen[port["device"]]
    active = kernel.active(port, seen)
    lines = [
        f"{link.name}: flags={ETHERNET if link.up else ETHERNET_DOWN} mtu {link.mtu}\n",
        f"\toptions={BRIDGE_OPTIONS if 'members' in port else '404<VLAN_MTU,CHANNEL_IO>'}\n",
        f"\tether {link.mac}\n",
        _addresses(link),
    ]
    if "members" in port:
        lines += _bridge(port, seen)
        media = "autoselect" if active else "<unknown type>"
    else:
        media = MEDIA[port["kind"]] if active else "autoselect (none)"
    lines += ["\tnd6 options=201<PERFORMNUD,DAD>\n", f"\tmedia: {media}\n"]
    return "".join([*lines, f"\tstatus: {'active' if active else 'inactive'}\n"])


def _bridge(port: Table, seen: dict[str, Link]) -> list[str]:
    lines = [
        "\tConfiguration:\n",
        "\t\tid 0:0:0:0:0:0 priority 0 hellotime 0 fwddelay 0\n",
        "\t\tmaxage 0 holdcnt 0 proto stp maxaddr 100 timeout 1200\n",
        "\t\troot id 0:0:0:0:0:0 priority 0 ifcost 0 port 0\n",
        "\t\tipfilter disabled flags 0x0\n",
    ]
    for number, member in enumerate(port["members"], start=11):
        lines += [
            f"\tmember: {member['device']} flags=3<LEARNING,DISCOVER>\n",
            f"\t        ifmaxaddr 0 port {number} priority 0 path cost 0\n",
        ]
    lines.append("\tAddress cache:\n")
    behind = next((m["device"] for m in port["members"] if kernel.member_active(m, seen)), None)
    # Which of two members a neighbour is behind is not known here: only a lone one is named.
    alone = sum(kernel.member_active(m, seen) for m in port["members"]) == 1
    for entry in kernel.neighbours() if behind and alone else ():
        if entry["dev"] == port["device"] and "REACHABLE" in entry["state"]:
            lines.append(f"\t\t{short_mac(entry['lladdr'])} Vlan1 {behind} 1199 flags=0<>\n")
    return lines


def _member(member: Table, port: Table, seen: dict[str, Link]) -> str:
    active = kernel.member_active(member, seen)
    carrier = seen.get(member["carrier"] or port["device"])
    mtu = carrier.mtu if carrier else 1500
    return (
        f"{member['device']}: flags={MEMBER} mtu {mtu}\n"
        "\toptions=460<TSO4,TSO6,CHANNEL_IO>\n"
        f"\tether {carrier.mac if carrier else '00:00:00:00:00:00'}\n"
        f"\tmedia: autoselect{' <full-duplex>' if active else ''}\n"
        f"\tstatus: {'active' if active else 'inactive'}\n"
    )


def _addresses(link: Link) -> str:
    lines = []
    for a in link.addresses:
        if a.family == 6:
            zone = f"%{link.name}" if a.scope == "link" else ""
            where = f" scopeid 0x{link.index:x} " if zone else " "
            lines.append(f"\tinet6 {a.address}{zone} prefixlen {a.length}{where}\n")
        else:
            network = IPv4Network((a.address, a.length), strict=False)
            broadcast = "" if link.name == "lo" else f" broadcast {network.broadcast_address}"
            lines.append(f"\tinet {a.address} netmask 0x{int(network.netmask):08x}{broadcast}\n")
    return "".join(lines)


def _set(name: str, words: list[str]) -> int:
    try:
        if not state.is_root():
            raise KernelError(f"ioctl (SIOCDIFADDR): {name}: permission denied")
        _change(name, words)
    except (KernelError, ValueError, IndexError) as error:
        complain(f"ifconfig: {error}")
        return 1
    return 0


def _change(name: str, words: list[str]) -> None:
    device = "lo" if name == "lo0" else name
    if words in (["up"], ["down"]):
        kernel.ip("link", "set", device, words[0])
        return
    if words[0] == "mtu":
        kernel.ip("link", "set", device, "mtu", words[1])
        return
    if words[0] == "inet":
        words = words[1:]
    if words[0] in ("delete", "-alias", "remove"):
        words = [words[-1], "-alias"]
    address, _, length = words[0].partition("/")
    IPv4Address(address)
    if "-alias" in words or "delete" in words:
        for link in [kernel.links()[device]]:
            for a in link.addresses:
                if a.address == address:
                    kernel.ip("address", "delete", f"{address}/{a.length}", "dev", device)
        return
    mask = words[words.index("netmask") + 1] if "netmask" in words else length or "24"
    mask = str(IPv4Address(int(mask, 16))) if mask.startswith("0x") else mask
    length = str(IPv4Network((0, mask)).prefixlen)
    if "alias" not in words and "add" not in words:
        kernel.ip("-4", "address", "flush", "dev", device)
    kernel.ip("address", "replace", f"{address}/{length}", "broadcast", "+", "dev", device)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
