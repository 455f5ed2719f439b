"""What one look at a node shows: the answer of a ping, the way a packet would take. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from attrs import frozen


@frozen
class Ping:
    """How often an address answered, and the mean round trip in milliseconds as ping says it.

    `sent` 0: ping did not get as far, and `said` is its own last line. That tells nothing about
    the link. `hops`: how many routers the answers passed, where their TTL tells.
    """

    sent: int
    received: int
    mean: str = ""
    said: str = ""
    hops: int | None = None

    @property
    def answers(self) -> bool:
        """Whether anything came back."""
        return self.received > 0

    def __str__(self) -> str:
        if not self.sent:
            return self.said or "ping said nothing"
        if not self.answers:
            return "no answer"
        lost = f", {self.sent - self.received} of {self.sent} lost" if self.lost else ""
        return f"{self.mean} ms{lost}"

    @property
    def lost(self) -> bool:
        """Whether any request stayed without an answer."""
        return self.received < self.sent


@frozen
class Hop:
    """Where a packet would go next: the device, and the gateway unless it is delivered there."""

    device: str
    gateway: IPv4Address | None

    def __str__(self) -> str:
        return f"via {self.gateway} dev {self.device}" if self.gateway else f"dev {self.device}"


@frozen
class Kept:
    """Something that is to outlast a reboot: what is stored, and what is live now, in words.

    `reason` is empty where they agree.
    """

    what: str
    stored: str
    live: str
    reason: str = ""


# What systems send packets off with; each router takes one away.
_TTLS = (64, 128, 255)


def parse_ping(text: str) -> Ping:
    """Read the summary of iputils', busybox' or macOS' ping; without one, nothing was sent."""
    counts = re.search(r"(\d+) packets transmitted, (\d+)(?: packets)? received", text)
    mean = re.search(r"= [\d.]+/([\d.]+)/", text)
    if counts is None:
        return Ping(0, 0, said=(text.strip().splitlines() or [""])[-1].strip())
    ttl = re.search(r"\bttl=(\d+)", text)
    hops = next((top - int(ttl[1]) for top in _TTLS if int(ttl[1]) <= top), None) if ttl else None
    return Ping(int(counts[1]), int(counts[2]), mean[1] if mean else "", hops=hops)
