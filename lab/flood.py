"""Fill a wire with frames for nobody, at its own speed, so that it is saturated.

    python -m smolmon.lab.flood DEVICE SECONDS

In the network namespace of one end. The rate is that of the queueing discipline on DEVICE; it ends
by itself when that or DEVICE is gone, or after SECONDS. Frames are handed over 64 KiB at a time, as
TCP does it where the interface cuts them up (virtio_net.h), so this takes a quarter of a processor
for 10 Gbit/s.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import time

NOBODY = bytes.fromhex("020000000001")
SIZE = 64_014  # bytes of a frame before it is cut up
SEGMENT = 1448
# include/uapi/linux/if_packet.h and virtio_net.h
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM, GSO_TCPV4 = 1, 1
ETHERNET, IPV4, TCP = 14, 20, 20  # lengths of the headers
PAUSE = 0.0005  # seconds, when the queue is full


def frame(source: bytes) -> bytes:
    """An IPv4 TCP frame of :data:`SIZE` bytes to nobody, behind its virtio_net_hdr.

    Its addresses are those for tests of networks (RFC 2544).
    """
    header = struct.pack(
        "=BBHHHH", NEEDS_CSUM, GSO_TCPV4, ETHERNET + IPV4 + TCP, SEGMENT, ETHERNET + IPV4, 16
    )
    addresses = bytes([198, 18, 0, 1, 198, 18, 0, 2])
    ip = struct.pack("!BBHHHBBH8s", 0x45, 0, SIZE - ETHERNET, 0, 0, 64, 6, 0, addresses)
    tcp = struct.pack("!HHIIBBHHH", 9, 9, 0, 0, 0x50, 0x10, 0, 0, 0)
    body = bytes(SIZE - ETHERNET - IPV4 - TCP)
    return header + NOBODY + source + b"\x08\x00" + ip[:10] + _sum(ip) + ip[12:] + tcp + body


def _sum(header: bytes) -> bytes:
    total = sum(struct.unpack("!10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def flood(device: str, seconds: float) -> None:
    """Send for so long. Raises OSError."""
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind((device, 0))
        data = frame(sock.getsockname()[4])
        while time.monotonic() < end:
            try:
                sock.send(data)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(PAUSE)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        flood(sys.argv[1], float(sys.argv[2]))
