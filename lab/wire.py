"""A cable that is long, slow, or badly negotiated: two taps, and a process between them.

A veth pair has one speed and no length, and not every kernel has netem. A tap has the speed and the
duplex that it is told, and what arrives late at the one end was kept here meanwhile. It ends by
itself when its taps are deleted, or after an hour.

    python -m smolmon.lab.wire SPEC     ends on its standard output with a line: `ready`

SPEC is JSON: see :class:`Wire`.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

from attrs import asdict, frozen

from smolmon.lab.forward import enter
from smolmon.lab.plan import INTERNET, namespace
from smolmon.lab.wires import NETNS

LIFE = 3600.0  # seconds
QUEUE = 1000  # frames that are on their way; what is more is lost
FRAME = 65536 + 18
# include/uapi/linux/if_tun.h and ethtool.h; the latter's `struct ethtool_cmd`.
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SIOCETHTOOL, ETHTOOL_SSET, DUPLEX_FULL = 0x8946, 0x2, 1
ETHTOOL_CMD = struct.Struct("=III HBBBBBB II HBB III")


@frozen
class Port:
    """One end: the machine, the interface's name, and what it says of itself (Mbit/s)."""

    machine: str
    name: str
    speed: int = 10_000
    full_duplex: bool = True


@frozen
class Wire:
    """The two ends, and the seconds that a frame takes from one to the other."""

    ends: tuple[Port, Port]
    delay: float = 0.0

    def spec(self) -> str:
        """As the command wants it."""
        return json.dumps(asdict(self))


def wire(spec: str) -> Wire:
    """What :meth:`Wire.spec` gave."""
    data: dict[str, Any] = json.loads(spec)
    a, b = (Port(**port) for port in data["ends"])
    return Wire((a, b), data["delay"])


def open_tap(port: Port) -> int:
    """A new tap in the machine's network, switched off; its descriptor. Raises OSError."""
    enter(NETNS / namespace(port.machine))
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", port.name.encode(), IFF_TAP | IFF_NO_PI))
    fields = [0] * 17
    fields[2], fields[11] = port.speed & 0xFFFF, port.speed >> 16
    fields[3] = DUPLEX_FULL if port.full_duplex else 0
    command = array.array("B", ETHTOOL_CMD.pack(ETHTOOL_SSET, *fields))
    address, _ = command.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP", port.name.encode(), address))
    return tap


def relay(taps: tuple[int, int], delay: float) -> None:
    """Pass frames on, each `delay` seconds after it came, until a tap is gone."""
    far = {taps[0]: taps[1], taps[1]: taps[0]}
    waiting: deque[tuple[float, int, bytes]] = deque()  # in order: all take as long
    poll = select.poll()
    for tap in taps:
        poll.register(tap, select.POLLIN)
    end = time.monotonic() + LIFE
    while (now := time.monotonic()) < end:
        while waiting and waiting[0][0] <= now:
            _, tap, frame = waiting.popleft()
            _write(tap, frame)
        pause = min(waiting[0][0] - now, 1.0) if waiting else 1.0
        for tap, event in poll.poll(pause * 1000):
            if event & ~select.POLLIN:
                return
            while (got := _read(tap)) is not None:
                if len(waiting) < QUEUE:
                    waiting.append((time.monotonic() + delay, far[tap], got))


def _read(tap: int) -> bytes | None:
    try:
        return os.read(tap, FRAME)
    except BlockingIOError:
        return None


def _write(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError as error:
        # A full queue, or an interface that is switched off: lost, as on a real wire.
        if error.errno not in (errno.EAGAIN, errno.EIO):
            raise


def main() -> None:
    """Lay the wire, say `ready`, and serve it."""
    wanted = wire(sys.argv[1])
    taps = open_tap(wanted.ends[0]), open_tap(wanted.ends[1])
    # Whoever takes the lab away looks for processes in its namespaces.
    enter(NETNS / namespace(INTERNET))
    print("ready", flush=True)  # noqa: T201 - whoever started us waits for it
    try:
        relay(taps, wanted.delay)
    except OSError:
        return  # the taps are deleted


if __name__ == "__main__":
    main()
