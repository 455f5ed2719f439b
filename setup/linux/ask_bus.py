"""What nmcli and busctl would tell of profiles and devices, asked of NetworkManager in one go.

This file's text is sent to a node and run there by its own `python3 -I -S`, with the UUIDs of the
profiles to tell of as arguments: one process for up to eight, on machines where starting one takes
its time. So it imports next to nothing, and of that only what is built into CPython from 3.6 on.
Whatever goes wrong ends it without a word on standard output, and the node is asked the other way.

Sources: the D-Bus Specification (message protocol, marshaling, SASL), NetworkManager's D-Bus API,
`nm_device_get_type_description` of libnm for the names of types.
"""

# ruff: noqa: S101

from __future__ import annotations

import sys
from _json import encode_basestring_ascii
from _socket import AF_UNIX, SOCK_STREAM, socket
from posix import getuid, write
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NM = "org.freedesktop.NetworkManager"
# Of NMDeviceType, from 0 on, as nmcli names them: a veth is an Ethernet interface there too.
NAMES = (
    "unknown ethernet wifi - - bt olpc-mesh wimax gsm infiniband bond vlan adsl bridge generic "
    "team tun iptunnel macvlan vxlan ethernet macsec dummy ppp ovs-interface ovs-port ovs-bridge "
    "wpan 6lowpan wireguard wifi-p2p vrf loopback"
)
TYPES = dict(enumerate(NAMES.split()))
STATES = {10: "unmanaged", 20: "unavailable", 30: "disconnected", 100: "connected"}
FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I"}
SIZES = {"y": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8, "h": 4}
ALIGNED = {**SIZES, "s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}


def end(signature: str, at: int) -> int:
    """Where the complete type that begins at `at` ends."""
    if signature[at] == "a":
        return end(signature, at + 1)
    if signature[at] in "({":
        at += 1
        while signature[at] not in ")}":
            at = end(signature, at)
    return at + 1


def read(data: bytes, at: int, signature: str) -> tuple[Any, int]:  # noqa: PLR0911
    """A value of that one complete type, and where the next begins. A variant is {"data": ...}."""
    kind = signature[0]
    size = ALIGNED[kind]
    at = (at + size - 1) // size * size
    if kind in FIXED:
        return unpack_from("<" + FIXED[kind], data, at)[0], at + size
    if kind == "b":
        return data[at] != 0, at + 4
    if kind in "so":
        size = unpack_from("<I", data, at)[0]
        return data[at + 4 : at + 4 + size].decode(), at + 5 + size
    if kind == "g":
        return data[at + 1 : at + 1 + data[at]].decode(), at + 2 + data[at]
    if kind == "v":
        inner, at = read(data, at, "g")
        value, at = read(data, at, inner)
        return {"data": value}, at
    if kind in "({":
        values, inner = [], 1
        while signature[inner] not in ")}":
            after = end(signature, inner)
            value, at = read(data, at, signature[inner:after])
            values.append(value)
            inner = after
        return values, at
    inner = signature[1:]
    size = unpack_from("<I", data, at)[0]
    at += 4
    if inner == "y":
        return list(data[at : at + size]), at + size
    align = ALIGNED[inner[0]]
    at = (at + align - 1) // align * align
    stop, values = at + size, []
    while at < stop:
        value, at = read(data, at, inner)
        values.append(value)
    return (dict(values) if inner[0] == "{" else values), at


def padded(data: bytes, size: int = 8) -> bytes:
    """`data` up to the next multiple of `size`."""
    return data + b"\0" * (-len(data) % size)


def text(value: str) -> bytes:
    """A string as it is marshaled."""
    return pack("<I", len(value)) + value.encode() + b"\0"


class Bus:
    """A connection to the system bus."""

    def __init__(self, path: str = "/run/dbus/system_bus_socket") -> None:
        self.socket = socket(AF_UNIX, SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.rest = b""
        self.serial = 0
        uid = str(getuid()).encode().hex().encode()
        self.socket.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\nBEGIN\r\n")
        while b"\r\n" not in self.rest:
            self.rest += self.received()
        said, _, self.rest = self.rest.partition(b"\r\n")
        assert said.startswith(b"OK ")
        self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")

    def received(self) -> bytes:
        """Some bytes."""
        data = self.socket.recv(1 << 18)
        assert data
        return data

    def take(self, size: int) -> bytes:
        """So many bytes."""
        parts, have = [self.rest], len(self.rest)
        while have < size:
            parts.append(self.received())
            have += len(parts[-1])
        data = b"".join(parts)
        self.rest = data[size:]
        return data[:size]

    def call(
        self, name: str, path: str, interface: str, member: str, number: int | None = None
    ) -> Any:  # noqa: ANN401 - whatever the method returns
        """The first value of the answer, None for an error. `number`: the only argument."""
        self.serial += 1
        fields = b""
        for code, kind, value in ((1, b"o", path), (2, b"s", interface), (3, b"s", member)):
            fields = padded(fields) + bytes((code, 1)) + kind + b"\0" + text(value)
        fields = padded(fields) + b"\6\1s\0" + text(name)
        body = b""
        if number is not None:
            fields = padded(fields) + b"\x08\1g\0\1u\0"
            body = pack("<I", number)
        head = pack("<cBBBIII", b"l", 1, 0, 1, len(body), self.serial, len(fields))
        self.socket.sendall(padded(head + fields) + body)
        while True:
            head = self.take(16)
            assert head[:1] == b"l"
            length, _, size = unpack_from("<III", head, 4)
            size += -size % 8
            data = self.take(size + length)
            known = {code: value["data"] for code, value in read(head + data, 12, "a(yv)")[0]}
            if known.get(5) == self.serial:  # signals and the like are passed over
                break
        if head[1] != 2:
            return None
        signature = known[8]
        return read(data[size:], 0, signature[: end(signature, 0)])[0]


def printed(value: object) -> str:
    """JSON."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ",".join(printed(str(k)) + ":" + printed(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(printed, value)) + "]"
    return repr(value)


def terse(value: str) -> str:
    """A field as `nmcli -t` prints it."""
    return value.replace("\\", "\\\\").replace(":", "\\:").replace("\n", " ")


def told(bus: Bus, uuids: list[str]) -> Iterator[str]:
    """The sections of facts.network_script that tell of NetworkManager."""
    objects = bus.call(
        NM, "/org/freedesktop", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
    )
    devices, active = {}, {}
    for path, interfaces in objects.items():
        if NM + ".Device" in interfaces:
            devices[path] = {k: v["data"] for k, v in interfaces[NM + ".Device"].items()}
    for interfaces in objects.values():
        found = interfaces.get(NM + ".Connection.Active")
        if found and found["Devices"]["data"]:
            active[found["Connection"]["data"]] = devices[found["Devices"]["data"][0]]["Interface"]
    yield "@@nm-running"
    yield "@@devices"
    for device in devices.values():
        state = STATES.get(device["State"], "changing")
        yield f"{device['Interface']}:{TYPES.get(device['DeviceType'], 'unknown')}:{state}"
    wanted, listed = [], []
    for path, interfaces in objects.items():
        call = NM + ".Settings.Connection"
        settings = bus.call(NM, path, call, "GetSettings") if call in interfaces else None
        if settings:  # not one that only other users may see
            one = {key: value["data"] for key, value in settings["connection"].items()}
            fields = (one["uuid"], one["type"], active.get(path, ""), one["id"])
            listed.append(":".join(map(terse, fields)))
            if one["uuid"] in uuids:
                wanted += ["@@stored " + one["uuid"], printed({"data": [settings]})]
    yield "@@connections"
    yield from listed
    yield from wanted
    for path, device in devices.items():
        if TYPES.get(device["DeviceType"]) == "ethernet" and device["State"] == 100:
            applied = bus.call(NM, path, NM + ".Device", "GetAppliedConnection", 0)
            assert applied
            yield "@@applied " + device["Interface"]
            yield printed({"data": [applied]})


if __name__ == "__main__":
    out = "\n".join(told(Bus(), sys.argv[1:])).encode() + b"\n"
    while out:
        out = out[write(1, out) :]
