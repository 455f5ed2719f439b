"""TCP handshakes on Linux that the server's program never hears of."""

from __future__ import annotations

import socket
import struct

from smolmon.exporter.tcp import Handshakes

# include/uapi/linux/tcp.h: tcpi_rtt, in microseconds, and tcpi_total_retrans.
TCP_INFO = struct.Struct("=68xI28xI")


def prepare(sock: socket.socket) -> None:
    """Answer the server's SYN-ACK with a reset instead of the acknowledgement.

    A server that does not accept() for a while would otherwise find its queue filled with our dead
    connections, and one that does would take each for a worker. The acknowledgement waits while
    quick ones are off, to be sent with the first data; closing without lingering overtakes it.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def duration(sock: socket.socket) -> float | None:
    """From SYN to SYN-ACK; None where the SYN had to be sent twice, which takes a second."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
    if len(info) < TCP_INFO.size:
        return None
    microseconds, retransmitted = TCP_INFO.unpack(info)
    return None if retransmitted else microseconds / 1e6 or None


HANDSHAKES = Handshakes(prepare, duration)
