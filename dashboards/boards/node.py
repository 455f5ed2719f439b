"""Node: one machine, its interfaces and neighbours, its exporter, and how well it measures."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.columns import MERGE, organized
from smolmon.dashboards.boards.node_exporter import cost, quality
from smolmon.dashboards.common import NODE, N, events, variables
from smolmon.dashboards.grafana import (
    AT_LEAST,
    NONE_IS_GOOD,
    Section,
    graph,
    override,
    query,
    stat,
    states,
    table,
    timeline,
)
from smolmon.dashboards.grafana import (
    board as board_of,
)
from smolmon.dashboards.mend import Json

YES_NO = {1: ("yes", "green"), 0: ("no", "red")}


def board() -> Json:
    """The board."""
    return board_of(
        NODE,
        "smolmon · Node",
        "One machine: its interfaces, its neighbours, its exporter.",
        [
            Section("", _now()),
            Section("Interfaces", _interfaces()),
            Section("Peers and neighbours", _peers()),
            Section("The training server, and the firewall", _server()),
            Section("What the exporter costs, and its lag", cost()),
            Section("How good the measurement is", quality()),
        ],
        variables=variables("node"),
        annotations=events(),
    )


def _info(title: str, description: str, name: str, legend: str) -> Any:  # noqa: ANN401
    return stat(
        title,
        description,
        [query(f"{name}{{{N}}}", legend, instant=True)],
        text="name",
        size=(5, 4),
    )


def _now() -> tuple[Any, ...]:
    return (
        stat(
            "Scraped",
            "Whether the exporter was scraped last time.",
            [query(f'min by (node) (up{{job="smolmon",{N}}})', "{{node}}", instant=True)],
            values={1: ("up", "green"), 0: ("down", "red")},
            thresholds=AT_LEAST,
            background=True,
            size=(4, 4),
        ),
        _info(
            "Machine",
            "Platform and ssh destination, as declared.",
            "smolmon_node_info",
            "{{platform}} · {{ssh}}",
        ),
        _info(
            "Software",
            "Version of smolmon, and of the Python that runs it.",
            "smolmon_build_info",
            "{{version}} · Python {{python}}",
        ),
        stat(
            "Alerts that name it",
            "Firing alerts, critical or warning, of this node.",
            [
                query(
                    f'count by (node) (ALERTS{{{N},alertstate="firing",'
                    'severity=~"critical|warning"}) or 0 * '
                    f'min by (node) (up{{job="smolmon",{N}}})',
                    instant=True,
                )
            ],
            unit="short",
            thresholds=NONE_IS_GOOD,
            size=(5, 4),
        ),
        stat(
            "Exporter runs since",
            "When the exporter's process started.",
            [query(f"1000 * process_start_time_seconds{{{N}}}", instant=True)],
            unit="dateTimeFromNow",
            size=(5, 4),
        ),
    )


def _rates(*names: str) -> list[Any]:
    return [
        query(
            f"rate(smolmon_network_{name}_total{{{N}}}[$__rate_interval])",
            f"{{{{device}}}} {name.replace('_', ' ')}",
        )
        for name in names
    ]


def _interfaces() -> tuple[Any, ...]:
    keys = "link, device"
    infos = ("up", "enabled", "mtu_bytes", "speed_bytes", "full_duplex")
    letters = [f"Value #{letter}" for letter in "ABCDE"]
    titles = ["carrier", "switched on", "MTU", "speed", "full duplex"]
    return (
        table(
            "Declared interfaces",
            "The node's ports as they are now. Speed and duplex are unknown where the system does "
            "not say.",
            [
                *(
                    query(
                        f"{'8 * ' if info == 'speed_bytes' else ''}"
                        f"max by ({keys}) (smolmon_network_{info}{{{N}}})",
                        table=True,
                    )
                    for info in infos
                ),
            ],
            transformations=[
                MERGE,
                organized("link", "device", *letters, **dict(zip(letters, titles, strict=True))),
            ],
            overrides=[
                override("MTU", {"unit": "none"}),
                override("speed", {"unit": "bps"}),
                override(
                    "^(carrier|switched on|full duplex)$", {"mappings": states(YES_NO)}, regex=True
                ),
            ],
            size=(12, 7),
        ),
        table(
            "Hardware addresses",
            "The node's own, by interface.",
            [query(f"max by (link, device, mac) (smolmon_network_mac_info{{{N}}})", table=True)],
            transformations=[organized("link", "device", "mac", hidden=["Value"])],
            size=(12, 7),
        ),
        graph(
            "Traffic",
            "What each interface carries, all traffic.",
            [
                query(
                    f"8 * rate(smolmon_network_{way}_bytes_total{{{N}}}[$__rate_interval])",
                    f"{{{{device}}}} {way}",
                )
                for way in ("receive", "transmit")
            ],
            unit="bps",
            size=(8, 8),
        ),
        graph(
            "Packets",
            "Packets that each interface received and sent.",
            _rates("receive_packets", "transmit_packets"),
            unit="pps",
            size=(8, 8),
        ),
        graph(
            "Errors and drops",
            "Packets damaged, not sent, or thrown away.",
            _rates("receive_errors", "transmit_errors", "receive_drops", "transmit_drops"),
            unit="pps",
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
        graph(
            "Wi-Fi",
            "Strength of the access point's signal, and noise, in dBm. From -67 dBm on it is good.",
            [
                query(f"smolmon_wifi_signal_dbm{{{N}}}", "{{device}} signal"),
                query(f"smolmon_wifi_noise_dbm{{{N}}}", "{{device}} noise"),
            ],
            unit="dBm",
            low=None,
            thresholds=((None, "red"), (-75, "orange"), (-67, "green")),
            size=(12, 7),
        ),
        graph(
            "Changes that the system told of",
            "Events of interfaces, addresses, routes and neighbours; and how often so many came "
            "that some were lost and all was read again.",
            [
                query(f"rate(smolmon_network_events_total{{{N}}}[$__rate_interval])", "{{topic}}"),
                query(
                    f"rate(smolmon_network_event_overflows_total{{{N}}}[$__rate_interval])",
                    "overflows",
                ),
            ],
            unit="cps",
            size=(12, 7),
        ),
    )


def _peers() -> tuple[Any, ...]:
    return (
        timeline(
            "Peers",
            "Whether each address that the node pings answers.",
            [query(f"smolmon_ping_up{{{N}}}", "{{target}} ({{probe}})")],
            values={1: ("answers", "green"), 0: ("silent", "red")},
            size=(12, 8),
        ),
        timeline(
            "Neighbour entries",
            "The state of the kernel's entry for each declared neighbour.",
            [query(f"smolmon_neighbor_state{{{N}}} == 1", "{{target}} ({{link}}) {{state}}")],
            values={1: ("so", "blue"), 0: ("not so", "text")},
            size=(12, 8),
        ),
    )


def _server() -> tuple[Any, ...]:
    return (
        timeline(
            "The training server's port",
            "On the server: whether a program listens where clients connect to, whether one "
            "should, and whether it can be reached at another address too.",
            [
                query(f"smolmon_listener_expected{{{N}}}", "{{address}}:{{port}} declared"),
                query(f"smolmon_listener_present{{{N}}}", "{{address}}:{{port}} listens"),
                query(f"smolmon_listener_exposed{{{N}}}", "{{port}} exposed"),
                query(f"smolmon_listener_bound_info{{{N}}}", "bound to {{address}}:{{port}}"),
            ],
            values={1: ("yes", "blue"), 0: ("no", "text")},
            size=(12, 7),
        ),
        timeline(
            "Firewall",
            "The machine's own firewall, where it has one that can be asked (macOS): switched on, "
            "letting nothing in, not answering pings.",
            [
                query(f"smolmon_firewall_{what}{{{N}}}", text)
                for what, text in (
                    ("enabled", "switched on"),
                    ("block_all", "blocks all"),
                    ("stealth", "hides"),
                )
            ],
            values={1: ("yes", "blue"), 0: ("no", "text")},
            size=(12, 7),
        ),
    )
