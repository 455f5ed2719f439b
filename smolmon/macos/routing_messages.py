"""What a routing socket says has changed: the beginning of each message is all that is read.

Source: xnu, bsd/net/route.h, `struct rt_msghdr` and `RTM_*`. Each message begins with its length
(16 bits), version and type (8 bits each), an index (16 bits) and, in those on routes, at offset 8
the flags, in the machine's byte order.
"""

from __future__ import annotations

import struct
from enum import Enum

VERSION = 5  # RTM_VERSION
_HEAD = struct.Struct("=HBB")
_FLAGS = struct.Struct("=i")
_FLAGS_OFFSET = 8
RTF_LLINFO = 0x400

RTM_ADD, RTM_DELETE, RTM_CHANGE, RTM_REDIRECT = 0x1, 0x2, 0x3, 0x6
RTM_NEWADDR, RTM_DELADDR, RTM_IFINFO, RTM_IFINFO2 = 0xC, 0xD, 0xE, 0x12
RTM_RESOLVE = 0xB


class Changed(Enum):
    """What a message is about."""

    ROUTE = "route"
    NEIGHBOUR = "neighbour"
    ADDRESS = "address"
    INTERFACE = "interface"


_ABOUT = {
    RTM_REDIRECT: Changed.ROUTE,
    RTM_RESOLVE: Changed.NEIGHBOUR,
    RTM_NEWADDR: Changed.ADDRESS,
    RTM_DELADDR: Changed.ADDRESS,
    RTM_IFINFO: Changed.INTERFACE,
    RTM_IFINFO2: Changed.INTERFACE,
}


def parse(data: bytes) -> frozenset[Changed]:
    """What the messages in `data` are about; nothing for those of no interest.

    Answers to questions that any process asked (`route get`) come to every routing socket: they
    are RTM_GET, which is of no interest. A neighbour's entry is a route with RTF_LLINFO.
    """
    found: set[Changed] = set()
    while len(data) >= _HEAD.size:
        length, version, kind = _HEAD.unpack_from(data)
        if length < _HEAD.size:
            break
        if version == VERSION:
            if kind in (RTM_ADD, RTM_DELETE, RTM_CHANGE):
                found.add(_route_or_neighbour(data))
            elif kind in _ABOUT:
                found.add(_ABOUT[kind])
        data = data[length:]
    return frozenset(found)


def _route_or_neighbour(message: bytes) -> Changed:
    if len(message) < _FLAGS_OFFSET + _FLAGS.size:
        return Changed.ROUTE
    (flags,) = _FLAGS.unpack_from(message, _FLAGS_OFFSET)
    return Changed.NEIGHBOUR if flags & RTF_LLINFO else Changed.ROUTE
