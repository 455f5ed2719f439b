"""Link's lower half: the interface that the pings leave by, the neighbour, the training port."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.common import N, P
from smolmon.dashboards.grafana import NONE_IS_GOOD, graph, override, query, timeline

PING = f'{P},probe="$probe"'
# The node's own interface that the probe leaves by.
PORT = f"and on (cluster, node, link) smolmon_ping_up{{{PING}}}"


def bandwidth() -> tuple[Any, ...]:
    """What the tests of the two found."""
    return (
        graph(
            "Bandwidth tests",
            "The last good test in each direction, as this end saw it. Dashed: what is expected at "
            "least; dotted: the recorded baseline.",
            [
                query(f"8 * smolmon_bandwidth_bytes_per_second{{{P}}}", "{{direction}}"),
                query(
                    f"8 * smolmon_bandwidth_expected_bytes_per_second{{{P}}}",
                    "expected {{direction}}",
                ),
                query(
                    f"8 * smolmon_bandwidth_baseline_bytes_per_second{{{P}}}",
                    "baseline {{direction}}",
                ),
            ],
            unit="bps",
            overrides=[
                override(
                    "^expected", {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}}, True
                ),
                override("^baseline", {"custom.lineStyle": {"fill": "dot", "dash": [0, 10]}}, True),
            ],
            size=(12, 8),
        ),
        graph(
            "Retransmits",
            "TCP segments that the last test to the peer sent again.",
            [query(f"smolmon_bandwidth_retransmits{{{P}}}", "sent again")],
            unit="short",
            size=(12, 8),
        ),
    )


def _rate(name: str) -> str:
    return f"rate(smolmon_network_{name}_total{{{N}}}[$__rate_interval]) {PORT}"


def interface() -> tuple[Any, ...]:
    """What the node's own port does."""
    ways = ("receive", "transmit")
    return (
        graph(
            "Interface use",
            "What the interface carries, all traffic. Dashed: what it has negotiated, where known.",
            [
                *(query(f"8 * ({_rate(f'{way}_bytes')})", f"{{{{device}}}} {way}") for way in ways),
                query(f"8 * (smolmon_network_speed_bytes{{{N}}} {PORT})", "negotiated"),
            ],
            unit="bps",
            overrides=[
                override("negotiated", {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}})
            ],
            size=(8, 8),
        ),
        graph(
            "Packets",
            "Packets that the interface received and sent.",
            [query(_rate(f"{way}_packets"), f"{{{{device}}}} {way}") for way in ways],
            unit="pps",
            size=(8, 8),
        ),
        graph(
            "Errors and drops",
            "Packets damaged, not sent, or thrown away. Errors mean a bad cable or plug.",
            [
                query(_rate(f"{way}_{what}"), f"{way} {what}")
                for what in ("errors", "drops")
                for way in ways
            ],
            unit="pps",
            size=(8, 8),
            thresholds=NONE_IS_GOOD,
        ),
        timeline(
            "Interface state",
            "Whether the interface is there, switched on, and has a carrier, and sends and "
            "receives at once (full duplex, where known).",
            [
                query(f"smolmon_network_{what}{{{N}}} {PORT}", f"{{{{device}}}} {text}")
                for what, text in (
                    ("present", "is there"),
                    ("enabled", "is switched on"),
                    ("up", "has a carrier"),
                    ("full_duplex", "is full duplex"),
                )
            ],
            values={1: ("yes", "green"), 0: ("no", "red")},
            size=(12, 6),
        ),
        graph(
            "Carrier changes",
            "How often the cable came or went.",
            [
                query(
                    "increase(smolmon_network_carrier_changes_total"
                    f"{{{N}}}[$__rate_interval]) {PORT}",
                    "{{device}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(12, 6),
        ),
    )


def neighbour() -> tuple[Any, ...]:
    """The kernel's entry for the peer."""
    return (
        timeline(
            "Neighbour entry",
            "The state of the kernel's entry (ARP) for the peer, where it is on the same segment.",
            [query(f"smolmon_neighbor_state{{{P}}} == 1", "{{link}} {{state}}")],
            values={1: ("so", "blue"), 0: ("not so", "text")},
            size=(8, 7),
        ),
        timeline(
            "Neighbour's hardware address",
            "At which hardware address the peer is reached; whether that is the declared one, "
            "where one is declared.",
            [
                query(f"smolmon_neighbor_mac_info{{{P}}}", "{{address}} at {{mac}}"),
                query(f"smolmon_neighbor_mac_as_declared{{{P}}}", "{{link}} as declared"),
            ],
            values={1: ("yes", "green"), 0: ("no", "red")},
            size=(8, 7),
        ),
        graph(
            "Hardware address changes",
            "How often the peer's hardware address changed. Back and forth: two machines with one "
            "address.",
            [
                query(
                    f"increase(smolmon_neighbor_mac_changes_total{{{P}}}[$__rate_interval])",
                    "{{link}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(8, 7),
        ),
    )


def training_port() -> tuple[Any, ...]:
    """Whether the peer can be connected to."""
    return (
        timeline(
            "Training port",
            "The outcome of the latest attempt to connect to the training port, where the peer is "
            "the server. `refused` is normal while no server runs.",
            [query(f"smolmon_tcp_connect_state{{{P}}} == 1", "{{state}}")],
            values={1: ("so", "blue"), 0: ("not so", "text")},
            size=(8, 7),
        ),
        graph(
            "Attempts to connect",
            "Attempts, and those that failed, by reason.",
            [
                query(
                    "sum by (port) (rate(smolmon_tcp_connect_attempts_total"
                    f"{{{P}}}[$__rate_interval]))",
                    "attempts",
                ),
                query(
                    "sum by (reason) (rate(smolmon_tcp_connect_failures_total"
                    f"{{{P}}}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ],
            unit="cps",
            size=(8, 7),
        ),
        graph(
            "Time to connect",
            "From SYN to SYN-ACK, median and 99th percentile, of the attempts that succeeded: "
            "empty while no training server listens, or where the peer is not the server.",
            [
                query(
                    f"histogram_quantile({q}, sum by (le) (rate("
                    f"smolmon_tcp_connect_duration_seconds_bucket{{{P}}}[$__rate_interval])))",
                    name,
                )
                for q, name in ((0.5, "median"), (0.99, "p99"))
            ],
            unit="s",
            interval="1m",
            size=(8, 7),
        ),
    )
