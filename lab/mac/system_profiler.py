"""`/usr/sbin/system_profiler`: SPThunderboltDataType and SPAirPortDataType, with -json.

The cables are those of the lab's own chain. More can be laid on paper alone: `cables.json`, a list
`extra` of entries like those of `machine.json`, is how a closed ring is told without making one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.kernel import Link
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain


def main(argv: Sequence[str]) -> int:
    """Run `system_profiler argv`."""
    known = {
        "SPThunderboltDataType": thunderbolt,
        "SPAirPortDataType": airport,
        "SPHardwareDataType": hardware,
    }
    wanted = [word for word in argv if not word.startswith("-")]
    if "-json" not in argv or not wanted:
        complain("system_profiler: this stand-in knows DATATYPE -json")
        return 1
    seen = kernel.links()
    table = {name: known[name](seen) for name in wanted if name in known}
    sys.stdout.write(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    return 0


def thunderbolt(seen: dict[str, Link]) -> list[Table]:
    """One entry for each socket; `_items` where another machine is at the other end."""
    sockets = [*state.machine().get("thunderbolt", []), *state.read("cables.json").get("extra", [])]
    return [_bus(number, socket, seen) for number, socket in enumerate(sockets)]


def _bus(number: int, socket: Table, seen: dict[str, Link]) -> Table:
    carrier = seen.get(socket["carrier"] or "")
    connected = bool(socket.get("paper")) or (carrier is not None and carrier.carrier)
    bus = {
        "_name": f"thunderboltusb4_bus_{number}",
        "device_name_key": state.machine().get("model", "Mac mini"),
        "domain_uuid_key": socket["domain"],
        "receptacle_1_tag": {
            "current_speed_key": "40 Gb/s" if connected else "Up to 40 Gb/s",
            "link_status_key": "0x2" if connected else "0x100",
            "receptacle_id_key": socket["receptacle"],
            "receptacle_status_key": (
                "receptacle_connected" if connected else "receptacle_no_devices_connected"
            ),
        },
        "route_string_key": "0",
        "switch_uid_key": f"0x05AC{int(socket['domain'][:8], 16):012X}",
        "vendor_name_key": "Apple Inc.",
    }
    peer = socket.get("peer")
    if connected and peer:
        bus["_items"] = [
            {
                "_name": peer["model"],
                "device_name_key": peer["model_id"],
                "domain_uuid_key": peer["domain"],
                "services_title": [{"_name": "service_ip"}],
                "vendor_name_key": "Apple Inc.",
            }
        ]
    return bus


def airport(seen: dict[str, Link]) -> list[Table]:
    """The Wi-Fi link, of an invented quality."""
    found = []
    for port in kernel.ports():
        if port["kind"] != "wifi":
            continue
        entry: Table = {"_name": port["device"]}
        if kernel.active(port, seen):
            entry["spairport_current_network_information"] = {
                "_name": "<redacted>",
                "spairport_network_channel": "37 (6GHz, 160MHz)",
                "spairport_network_phymode": "802.11ax",
                "spairport_network_rate": 1152,
                "spairport_network_type": "spairport_network_type_station",
                "spairport_signal_noise": "-52 dBm / -90 dBm",
            }
            entry["spairport_status_information"] = "spairport_status_connected"
        found.append(entry)
    return [{"spairport_airport_interfaces": found}]


def hardware(seen: dict[str, Link]) -> list[Table]:
    """What kind of Mac it is."""
    mac = state.machine()
    return [
        {
            "_name": "hardware_overview",
            "machine_name": mac["model"],
            "machine_model": mac["model_id"],
        }
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
