"""`/sbin/ifconfig -a` or `/sbin/ifconfig NAME`: interfaces, with the parts of bridges."""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv6Address

from attrs import define, field, frozen

from smolmon.macos.text import device, ipv4, ipv6, mac, number, prefix_length

_HEAD = re.compile(
    r"([A-Za-z][A-Za-z0-9_.-]*): flags=[0-9a-f]+<([A-Z0-9_,-]*)>(?:.*? mtu ([0-9]{1,9}))?"
)
_INET = re.compile(r"inet ([0-9.]+)(?: --> [0-9.]+)? netmask 0x([0-9a-f]{1,8})(?: .*)?")
_INET6 = re.compile(r"inet6 ([0-9a-fA-F:.]+)(?:%\S+)? .*")
_CACHE = re.compile(r"([0-9a-fA-F:]+) Vlan([0-9]+) (\S+) ([0-9]+) flags=.*")
_SPEED = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(G?)base", re.IGNORECASE)
_OPTIONS = re.compile(r"<([a-z0-9,-]+)>")


@frozen
class CacheEntry:
    """A bridge's memory that `mac` was last seen behind the member `device`, for another
    `expire` seconds."""

    mac: str
    device: str
    expire: int | None


@frozen
class Interface:
    """One interface. What the tool did not print is None or empty.

    `active` is the line `status:`: whether there is a link. `speed` is in bits per second and
    only of an active link; Thunderbolt and bridges have none. `members` and `cache` are those of
    a bridge. `ipv6` are its IPv6 addresses, without their zones.
    """

    name: str
    flags: frozenset[str]
    mtu: int | None = None
    mac: str | None = None
    addresses: tuple[IPv4Interface, ...] = ()
    active: bool | None = None
    media: str | None = None
    speed: float | None = None
    full_duplex: bool | None = None
    members: tuple[str, ...] = ()
    cache: tuple[CacheEntry, ...] = ()
    ipv6: tuple[IPv6Address, ...] = ()

    @property
    def up(self) -> bool:
        """Whether it is switched on; says nothing of the link."""
        return "UP" in self.flags


def parse(text: str) -> tuple[Interface, ...]:
    """The interfaces, in the tool's order.

    Source (ifconfig.tproj): a line `NAME: flags=HEX<NAMES> mtu N`, the rest indented; `ether` with
    two digits an octet, `inet A netmask 0xHEX`; `status:` is `active` or `inactive` (up to 10.x
    and in other media `no carrier`, `associated`). Seen: a Thunderbolt bridge without a peer says
    `status: inactive`, `media: <unknown type>` and has no line `inet` at all; its members' and
    neighbours' addresses are without zero padding.
    """
    found: list[Interface] = []
    block: _Block | None = None
    for line in text.split("\n"):
        head = _HEAD.match(line)
        if head is not None:
            if block is not None:
                found.append(block.interface())
            block = _Block(head)
        elif not line[:1].isspace():
            if line and block is not None:  # a heading that is not understood ends the block
                found.append(block.interface())
                block = None
        elif block is not None:
            block.read(line.strip())
    if block is not None:
        found.append(block.interface())
    return tuple(found)


@define
class _Block:
    """The lines of one interface, as far as they have been read."""

    head: re.Match[str]
    values: dict[str, str] = field(init=False, factory=dict)
    addresses: list[IPv4Interface] = field(init=False, factory=list)
    ipv6: list[IPv6Address] = field(init=False, factory=list)
    members: list[str] = field(init=False, factory=list)
    cache: list[CacheEntry] = field(init=False, factory=list)

    def read(self, line: str) -> None:
        for name in ("ether ", "lladdr ", "media: ", "status: "):
            if line.startswith(name):
                self.values.setdefault(name.strip(" :"), line[len(name) :].strip())
        if (match := _INET.fullmatch(line)) and (address := _address(match[1], match[2])):
            self.addresses.append(address)
        elif (match := _INET6.fullmatch(line)) and (six := ipv6(match[1])):
            self.ipv6.append(six)
        elif line.startswith("member: ") and (member := device(line.split()[1])):
            self.members.append(member)
        elif (match := _CACHE.fullmatch(line)) and (owner := mac(match[1])):
            self.cache.append(CacheEntry(owner, match[3], number(match[4])))

    def interface(self) -> Interface:
        active = {"active": True, "associated": True, "inactive": False, "no carrier": False}.get(
            self.values.get("status", "")
        )
        media = self.values.get("media")
        options = _OPTIONS.search(media) if media is not None else None
        return Interface(
            name=self.head[1],
            flags=frozenset(filter(None, self.head[2].split(","))),
            mtu=number(self.head[3] or ""),
            mac=mac(self.values.get("ether", self.values.get("lladdr", ""))),
            addresses=tuple(self.addresses),
            active=active,
            media=media,
            speed=speed(media) if media is not None and active else None,
            full_duplex=_duplex(options[1].split(",")) if options is not None and active else None,
            members=tuple(self.members),
            cache=tuple(self.cache),
            ipv6=tuple(self.ipv6),
        )


def speed(media: str) -> float | None:
    """Bits per second of `autoselect (1000baseT <full-duplex>)`, `10Gbase-T`, `2500Base-T`."""
    match = _SPEED.search(media)
    return float(match[1]) * (1e9 if match[2] else 1e6) if match is not None else None


def _duplex(options: list[str]) -> bool | None:
    return True if "full-duplex" in options else False if "half-duplex" in options else None


def _address(word: str, mask: str) -> IPv4Interface | None:
    address, length = ipv4(word), prefix_length(int(mask, 16))
    return IPv4Interface((address, length)) if address is not None and length is not None else None
