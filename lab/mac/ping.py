"""`/sbin/ping`, after Apple's ping.tproj: -W in milliseconds, -b for the interface, -t for the end.

Over an ICMP datagram socket, as macOS' own does it for those who are not root.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from smolmon.lab.mac.words import complain, say

VALUED = "ciWtbSsmGghIkKlMPpTz"
ECHO, REPLY = 8, 0
IP_RECVTTL, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 12, 10, 2  # linux/in.h
REPLIED, LOST, USAGE, NO_HOST = 0, 2, 64, 68


def main(argv: Sequence[str]) -> int:
    """Run `ping argv`."""
    flags: set[str] = set()
    values: dict[str, str] = {}
    words = list(argv)
    hosts = []
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            hosts.append(word)
            continue
        for place, letter in enumerate(word[1:], start=2):
            if letter in VALUED:
                values[letter] = word[place:] or (words.pop(0) if words else "")
                break
            flags.add(letter)
    if len(hosts) != 1:
        complain("usage: ping [-AaDdfnoQqRrv] [-c count] [-i wait] [-t timeout] [-W waittime] host")
        return USAGE
    try:
        address = socket.gethostbyname(hosts[0])
    except OSError:
        complain(f"ping: cannot resolve {hosts[0]}: Unknown host")
        return NO_HOST
    try:
        run = _Run(address, hosts[0], flags, values)
    except (ValueError, OSError) as error:
        complain(f"ping: {getattr(error, 'strerror', None) or error}")
        return USAGE
    with suppress(KeyboardInterrupt):
        run.go()
    return run.finish()


class _Run:
    """One run: what was asked for, and what came."""

    def __init__(self, address: str, host: str, flags: set[str], values: dict[str, str]) -> None:
        self.address, self.host = address, host
        self.quiet, self.once = "q" in flags, "o" in flags
        self.count = int(values["c"]) if "c" in values else None
        self.wait = float(values.get("i", "1"))
        self.patience = float(values.get("W", "1000")) / 1000
        self.end = time.monotonic() + float(values["t"]) if "t" in values else None
        self.size = int(values.get("s", "56"))
        if self.wait < 0.1 and os.geteuid() != 0:
            raise ValueError("-i interval too short: Operation not permitted")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        if "m" in values:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(values["m"]))
        if "D" in flags:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        if "b" in values:
            device = values["b"].encode()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        if "S" in values:
            self.socket.bind((values["S"], 0))
        self.sent = 0
        self.times: list[float] = []
        self.answered: set[int] = set()
        self.duplicates = 0

    def go(self) -> None:
        """Send and receive until it is time to stop."""
        say(f"PING {self.host} ({self.address}): {self.size} data bytes")
        while self.count is None or self.sent < self.count:
            self._send()
            last = self.count is not None and self.sent == self.count
            self._receive(time.monotonic() + (self.patience if last else self.wait), last=last)
            if self._over() or (self.once and self.times):
                return
            # The last request is not waited for aloud: the statistics tell.
            if self.sent - 1 not in self.answered and not self.quiet and not last:
                say(f"Request timeout for icmp_seq {self.sent - 1}")

    def _over(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end

    def _send(self) -> None:
        stamp = struct.pack("!d", time.monotonic())
        data = struct.pack("!BBHHH", ECHO, 0, 0, 0, self.sent & 0xFFFF)
        data += (stamp + bytes(self.size))[: self.size]
        self.sent += 1
        try:
            self.socket.sendto(data, (self.address, 0))
        except OSError as error:
            reasons = {
                errno.EHOSTUNREACH: "No route to host",
                errno.ENETUNREACH: "No route to host",
            }
            complain(f"ping: sendto: {reasons.get(error.errno or 0, error.strerror)}")

    def _receive(self, until: float, *, last: bool) -> None:
        """Take what comes; the last request's answer ends the waiting."""
        if self.end is not None:
            until = min(until, self.end)
        while (left := until - time.monotonic()) > 0:
            if last and len(self.answered) == self.sent:
                return
            ready, _, _ = select.select([self.socket], [], [], left)
            if not ready:
                return
            try:
                data, extra, _, source = self.socket.recvmsg(65536, 256)
            except OSError:  # an ICMP error that belongs to an earlier request
                continue
            now = time.monotonic()
            if len(data) >= 8 and data[0] == REPLY:
                ttl = next((struct.unpack("i", d)[0] for _, _, d in extra if len(d) == 4), 64)
                self._note(data, now, ttl, source[0])

    def _note(self, data: bytes, now: float, ttl: int, source: str) -> None:
        (sequence,) = struct.unpack("!H", data[6:8])
        number = (self.sent - 1) & ~0xFFFF | sequence
        took = None
        if len(data) >= 16:
            took = (now - struct.unpack("!d", data[8:16])[0]) * 1000
        duplicate = number in self.answered
        self.answered.add(number)
        if duplicate:
            self.duplicates += 1
        elif took is not None:
            self.times.append(took)
        if not self.quiet:
            text = f"{len(data)} bytes from {source}: icmp_seq={sequence} ttl={ttl}"
            text += f" time={took:.3f} ms" if took is not None else ""
            say(text + (" (DUP!)" if duplicate else ""))

    def finish(self) -> int:
        """The statistics, and the exit status: 0 for any answer, else 2."""
        received = len(self.answered)
        loss = 100 * (self.sent - received) / self.sent if self.sent else 0.0
        more = f" +{self.duplicates} duplicates," if self.duplicates else ""
        say(f"\n--- {self.host} ping statistics ---")
        say(
            f"{self.sent} packets transmitted, {received} packets received,{more} "
            f"{loss:.1f}% packet loss"
        )
        if self.times:
            mean = sum(self.times) / len(self.times)
            spread = (sum((t - mean) ** 2 for t in self.times) / len(self.times)) ** 0.5
            figures = (min(self.times), mean, max(self.times), spread)
            text = "/".join(f"{figure:.3f}" for figure in figures)
            say(f"round-trip min/avg/max/stddev = {text} ms")
        return REPLIED if received else LOST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
