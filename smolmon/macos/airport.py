"""`/usr/sbin/system_profiler SPAirPortDataType -json`: the Wi-Fi link.

Takes seconds, and may look for networks while it does. Not open source: seen on macOS 15 and 26.
"""

from __future__ import annotations

import re

from attrs import frozen

from smolmon.macos.json import dictionaries, load, string
from smolmon.macos.text import device

_SIGNAL = re.compile(r"(-?[0-9]{1,3}) dBm / (-?[0-9]{1,3}) dBm")
_CHANNEL = re.compile(r"([0-9]{1,3})(?: \(([0-9.]{1,4})GHz(?:, ([0-9]{1,3})MHz)?\))?")


@frozen
class WifiLink:
    """The network that an interface is joined to. Signal and noise in dBm, `width` in Hz, `rate`
    in bits per second, as negotiated. The network's name is hidden from programs without the
    right to the location (seen: `<redacted>`), and not read."""

    device: str
    signal: int | None
    noise: int | None
    channel: int | None
    width: float | None
    rate: float | None


def parse(text: str) -> tuple[WifiLink, ...]:
    """The interfaces that are joined to a network.

    `spairport_current_network_information` stands also at awdl0, without a signal, and is no
    network there. Somebody's observation is that root is told nothing at all: then this is empty.
    """
    found: list[WifiLink] = []
    for section in dictionaries(load(text), "SPAirPortDataType"):
        for entry in dictionaries(section, "spairport_airport_interfaces"):
            name = device(string(entry, "_name") or "")
            current = entry.get("spairport_current_network_information")
            if name is not None and isinstance(current, dict) and current.get("_name"):
                found.append(_link(name, current))
    return tuple(found)


def _link(name: str, current: dict[str, object]) -> WifiLink:
    levels = _SIGNAL.fullmatch(string(current, "spairport_signal_noise") or "")
    channel = _CHANNEL.fullmatch(string(current, "spairport_network_channel") or "")
    rate = current.get("spairport_network_rate")  # in Mbit/s
    return WifiLink(
        device=name,
        signal=int(levels[1]) if levels is not None else None,
        noise=int(levels[2]) if levels is not None else None,
        channel=int(channel[1]) if channel is not None else None,
        width=int(channel[3]) * 1e6 if channel is not None and channel[3] else None,
        rate=rate * 1e6 if isinstance(rate, int) and 0 < rate < 1_000_000 else None,
    )
