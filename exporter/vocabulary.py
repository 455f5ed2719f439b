"""Every metric that smolmon exports: one table, and the only way to make one.

The rules are Prometheus' own (prometheus.io/docs/practices/naming): base units, counters end in
`_total`, an unknown value is absent rather than 0. `instance` and the labels that the scrape
configuration attaches (cluster, node, role, gateway, segment) never stand in this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.exporter.exposition import Buckets, Rows

Labels = Mapping[str, str]


class Type(str, Enum):
    """The metric types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"  # always 1; what it says stands in its labels


@frozen
class Entry:
    """One metric. `unit` is the base unit that its name ends in, or "" for a plain number."""

    name: str
    type: Type
    unit: str
    labels: tuple[str, ...]
    help: str


_PATH = ("probe", "target", "link")
_ROUTE = ("destination", "via", "via_node", "to", "link", "device", "purpose")
_PORT = ("link", "device")
_NEIGHBOR = ("target", "link")
_SERVICE = ("target", "link", "port")
_TEST = ("target", "link", "direction")

TABLE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "smolmon_ping_requests_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo requests accounted for: answered, timed out or refused, never in flight.",
        ),
        Entry(
            "smolmon_ping_results_total",
            Type.COUNTER,
            "",
            (*_PATH, "result"),
            "Echo requests accounted for, by result; the results add up to the requests.",
        ),
        Entry(
            "smolmon_ping_late_replies_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo replies that came after their request had been accounted for as lost.",
        ),
        Entry(
            "smolmon_ping_duplicate_replies_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo replies to a request that had already had one.",
        ),
        Entry(
            "smolmon_ping_unreachable_total",
            Type.COUNTER,
            "",
            (*_PATH, "code"),
            "Echo requests whose result is `unreachable`, by the reason that was given.",
        ),
        Entry(
            "smolmon_ping_inflight",
            Type.GAUGE,
            "",
            _PATH,
            "Echo requests that may still be answered in time.",
        ),
        Entry(
            "smolmon_ping_slow_replies_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo replies slower than expected by more than the measurement may be wrong.",
        ),
        Entry(
            "smolmon_ping_invalid_replies_total",
            Type.COUNTER,
            "",
            ("reason",),
            "Echo replies that match no request of ours, by what is wrong with them.",
        ),
        Entry(
            "smolmon_ping_rtt_seconds",
            Type.HISTOGRAM,
            "seconds",
            _PATH,
            "Round-trip time of the echo requests that were answered in time.",
        ),
        Entry(
            "smolmon_ping_rtt_threshold_seconds",
            Type.GAUGE,
            "seconds",
            _PATH,
            "Declared expectation of the round-trip time.",
        ),
        Entry(
            "smolmon_ping_rtt_error_seconds",
            Type.GAUGE,
            "seconds",
            _PATH,
            "How far the last round-trip time may be off, by the clocks that measured it.",
        ),
        Entry(
            "smolmon_scheduler_lag_seconds",
            Type.HISTOGRAM,
            "seconds",
            (),
            "How late a burst of echo requests left, because the process was held up.",
        ),
        Entry(
            "smolmon_probe_overruns_total",
            Type.COUNTER,
            "",
            (),
            "Bursts of echo requests left out, because the process was held up for too long.",
        ),
        Entry(
            "smolmon_clock_steps_total",
            Type.COUNTER,
            "",
            (),
            "How often the system's clock was set, or the machine slept, while pinging.",
        ),
        Entry(
            "smolmon_ping_timestamping_info",
            Type.INFO,
            "",
            (*_PATH, "tx", "rx"),
            "Which clock (kernel or user) stamped the last answered request and its reply.",
        ),
        Entry(
            "smolmon_ping_up",
            Type.GAUGE,
            "",
            _PATH,
            "1 if one of the last three accounted requests was answered, 0 if none was.",
        ),
        Entry(
            "smolmon_ping_last_reply_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            _PATH,
            "Unix time of the last echo reply that came in time.",
        ),
        Entry(
            "smolmon_path_hop_info",
            Type.INFO,
            "",
            (*_PATH, "hop"),
            "A gateway on the declared path of a probe.",
        ),
        Entry(
            "smolmon_path_step_info",
            Type.INFO,
            "",
            (*_PATH, "hop", "over", "next"),
            "A step of a probe's declared way: a node, the segment and the node it hands on to.",
        ),
        Entry(
            "smolmon_path_info",
            Type.INFO,
            "",
            (*_PATH, "path"),
            "The path that a probe measures, FARTHER>NEARER to the server: the same for both ends.",
        ),
        Entry(
            "smolmon_cable_info",
            Type.INFO,
            "",
            ("link", "target"),
            "The node at the other end of a cable that ends at no switch, as declared.",
        ),
        Entry(
            "smolmon_check_state",
            Type.GAUGE,
            "",
            ("check", "target", "link", "state"),
            "1 for the state (pass, fail or inconclusive) that the check is in, 0 for the others.",
        ),
        Entry(
            "smolmon_route_present",
            Type.GAUGE,
            "",
            _ROUTE,
            "1 if the kernel would use the declared route, 0 if it is missing or overruled.",
        ),
        Entry(
            "smolmon_ip_forwarding_enabled",
            Type.GAUGE,
            "",
            ("family",),
            "1 if the node forwards packets between its interfaces.",
        ),
        Entry(
            "smolmon_ip_forwarding_expected",
            Type.GAUGE,
            "",
            ("family",),
            "1 if the declared cluster needs the node to forward packets.",
        ),
        Entry(
            "smolmon_route_losses_total",
            Type.COUNTER,
            "",
            _ROUTE,
            "How often the declared route went missing, also between two scrapes.",
        ),
        Entry(
            "smolmon_route_last_change_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            _ROUTE,
            "Unix time at which the declared route was last seen to go missing or to come back.",
        ),
        Entry(
            "smolmon_path_first_hop_as_declared",
            Type.GAUGE,
            "",
            _PATH,
            "1 if the kernel, all rules considered, sends packets for the target the declared way.",
        ),
        Entry(
            "smolmon_path_hops",
            Type.GAUGE,
            "",
            _PATH,
            "Links that packets cross to reach the target, found by limiting their time to live.",
        ),
        Entry(
            "smolmon_path_hops_expected",
            Type.GAUGE,
            "",
            _PATH,
            "Links on the declared path to the target.",
        ),
        Entry(
            "smolmon_path_gateway_info",
            Type.INFO,
            "",
            (*_PATH, "position", "address"),
            "A gateway that passed a request on, and its place on the path, from 1.",
        ),
        Entry(
            "smolmon_default_route_present",
            Type.GAUGE,
            "",
            (),
            "1 if the kernel has a way for internet traffic, 0 if it has none.",
        ),
        Entry(
            "smolmon_default_route_info",
            Type.INFO,
            "",
            ("device", "via"),
            "The interface that internet traffic leaves by, and the address it is handed to.",
        ),
        Entry(
            "smolmon_default_route_on_segment",
            Type.GAUGE,
            "",
            _PORT,
            "1 if internet traffic leaves by this interface of a declared segment; it should not.",
        ),
        Entry(
            "smolmon_address_present",
            Type.GAUGE,
            "",
            (*_PORT, "address"),
            "1 if the declared address is set on the declared interface, 0 if it is not.",
        ),
        Entry(
            "smolmon_network_present",
            Type.GAUGE,
            "",
            _PORT,
            "1 if the declared interface exists, 0 if it does not.",
        ),
        Entry(
            "smolmon_network_up",
            Type.GAUGE,
            "",
            _PORT,
            "1 if the declared interface is there, switched on and has a carrier, else 0.",
        ),
        Entry(
            "smolmon_network_enabled",
            Type.GAUGE,
            "",
            _PORT,
            "1 if the interface is switched on, 0 if it is switched off.",
        ),
        Entry(
            "smolmon_network_mtu_bytes",
            Type.GAUGE,
            "bytes",
            _PORT,
            "Largest packet that the interface sends in one piece.",
        ),
        Entry(
            "smolmon_network_mac_info",
            Type.INFO,
            "",
            (*_PORT, "mac"),
            "The interface's own hardware address.",
        ),
        Entry(
            "smolmon_network_speed_bytes",
            Type.GAUGE,
            "bytes",
            _PORT,
            "Bytes per second, each way, that the interface has negotiated.",
        ),
        Entry(
            "smolmon_network_full_duplex",
            Type.GAUGE,
            "",
            _PORT,
            "1 if the interface sends and receives at once, 0 if it takes turns.",
        ),
        Entry(
            "smolmon_network_carrier_changes_total",
            Type.COUNTER,
            "",
            _PORT,
            "How often the interface's carrier came or went.",
        ),
        Entry(
            "smolmon_network_receive_bytes_total",
            Type.COUNTER,
            "bytes",
            _PORT,
            "Bytes that the interface received.",
        ),
        Entry(
            "smolmon_network_receive_packets_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets that the interface received.",
        ),
        Entry(
            "smolmon_network_receive_errors_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets that the interface received damaged.",
        ),
        Entry(
            "smolmon_network_receive_drops_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets received and thrown away, for want of room or of a taker.",
        ),
        Entry(
            "smolmon_network_transmit_bytes_total",
            Type.COUNTER,
            "bytes",
            _PORT,
            "Bytes that the interface sent.",
        ),
        Entry(
            "smolmon_network_transmit_packets_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets that the interface sent.",
        ),
        Entry(
            "smolmon_network_transmit_errors_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets that could not be sent.",
        ),
        Entry(
            "smolmon_network_transmit_drops_total",
            Type.COUNTER,
            "",
            _PORT,
            "Packets thrown away instead of being sent.",
        ),
        Entry(
            "smolmon_wifi_signal_dbm",
            Type.GAUGE,
            "",
            ("device",),
            "Strength at which the Wi-Fi interface hears its access point, in dBm.",
        ),
        Entry(
            "smolmon_wifi_noise_dbm",
            Type.GAUGE,
            "",
            ("device",),
            "Noise that the Wi-Fi interface hears, in dBm.",
        ),
        Entry(
            "smolmon_neighbor_state",
            Type.GAUGE,
            "",
            (*_NEIGHBOR, "state"),
            "1 for the state of the kernel's entry for a declared neighbour, 0 for the others.",
        ),
        Entry(
            "smolmon_neighbor_mac_info",
            Type.INFO,
            "",
            (*_NEIGHBOR, "address", "mac"),
            "The hardware address at which the kernel reaches a declared neighbour.",
        ),
        Entry(
            "smolmon_neighbor_mac_as_declared",
            Type.GAUGE,
            "",
            _NEIGHBOR,
            "1 if a neighbour's hardware address is the declared one, 0 if it is another.",
        ),
        Entry(
            "smolmon_neighbor_mac_changes_total",
            Type.COUNTER,
            "",
            _NEIGHBOR,
            "How often a declared neighbour's hardware address changed.",
        ),
        Entry(
            "smolmon_tcp_connect_attempts_total",
            Type.COUNTER,
            "",
            _SERVICE,
            "Attempts to connect to the training port that have ended, well or not.",
        ),
        Entry(
            "smolmon_tcp_connect_failures_total",
            Type.COUNTER,
            "",
            (*_SERVICE, "reason"),
            "Attempts to connect to the training port that failed, by reason.",
        ),
        Entry(
            "smolmon_tcp_connect_duration_seconds",
            Type.HISTOGRAM,
            "seconds",
            _SERVICE,
            "Time from SYN to SYN-ACK of the attempts that succeeded.",
        ),
        Entry(
            "smolmon_tcp_connect_state",
            Type.GAUGE,
            "",
            (*_SERVICE, "state"),
            "1 for the outcome of the latest attempt to connect to the training port, else 0.",
        ),
        Entry(
            "smolmon_listener_present",
            Type.GAUGE,
            "",
            ("address", "port"),
            "1 if a program listens where training clients connect to, 0 if none does.",
        ),
        Entry(
            "smolmon_listener_expected",
            Type.GAUGE,
            "",
            ("address", "port"),
            "1 for the address and port that the training server is declared to listen on.",
        ),
        Entry(
            "smolmon_listener_bound_info",
            Type.INFO,
            "",
            ("address", "port"),
            "An address that a program listening on the training port is bound to.",
        ),
        Entry(
            "smolmon_listener_exposed",
            Type.GAUGE,
            "",
            ("port",),
            "1 if the training port can be reached at another address than the declared one.",
        ),
        Entry(
            "smolmon_training_connections",
            Type.GAUGE,
            "",
            ("port",),
            "Established connections to the training server, without our own attempts.",
        ),
        Entry(
            "smolmon_bandwidth_bytes_per_second",
            Type.GAUGE,
            "",
            _TEST,
            "Rate of the last good test, as this end of it saw it.",
        ),
        Entry(
            "smolmon_bandwidth_expected_bytes_per_second",
            Type.GAUGE,
            "",
            _TEST,
            "Least rate that a test should show: the declared one, or a share of the baseline.",
        ),
        Entry(
            "smolmon_bandwidth_baseline_bytes_per_second",
            Type.GAUGE,
            "",
            _TEST,
            "Rate that `smolmon bandwidth baseline` recorded for this path.",
        ),
        Entry(
            "smolmon_bandwidth_part_info",
            Type.INFO,
            "",
            (*_TEST, "part_source", "part_target", "part_link"),
            "A test of a single link that, if it is bad, explains a bad result of this one.",
        ),
        Entry(
            "smolmon_bandwidth_retransmits",
            Type.GAUGE,
            "",
            ("target", "link"),
            "TCP segments that the last good test from here to the target sent again.",
        ),
        Entry(
            "smolmon_bandwidth_cpu_ratio",
            Type.GAUGE,
            "ratio",
            (*_TEST, "end"),
            "Cores that each end's test process kept busy in the last good test; 1 is one core.",
        ),
        Entry(
            "smolmon_bandwidth_last_success_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            _TEST,
            "Unix time at which the last good test ended.",
        ),
        Entry(
            "smolmon_bandwidth_tests_total",
            Type.COUNTER,
            "",
            (*_TEST, "result"),
            "Slots of the timetable that are over, by what became of them.",
        ),
        Entry(
            "smolmon_bandwidth_tests_skipped_total",
            Type.COUNTER,
            "",
            ("reason",),
            "Tests that did not start, by reason.",
        ),
        Entry(
            "smolmon_bandwidth_tests_aborted_total",
            Type.COUNTER,
            "",
            ("reason",),
            "Tests that were ended before their time, by reason.",
        ),
        Entry(
            "smolmon_bandwidth_tests_failed_total",
            Type.COUNTER,
            "",
            ("reason",),
            "Tests that started and went wrong, by reason.",
        ),
        Entry(
            "smolmon_bandwidth_test_bytes_total",
            Type.COUNTER,
            "bytes",
            ("direction",),
            "Bytes that tests of this node have sent and received.",
        ),
        Entry(
            "smolmon_bandwidth_spent_bytes",
            Type.GAUGE,
            "bytes",
            (),
            "Bytes that tests of this node have sent and received today (UTC).",
        ),
        Entry(
            "smolmon_bandwidth_budget_bytes",
            Type.GAUGE,
            "bytes",
            (),
            "Bytes a day, declared, beyond which this node does not test.",
        ),
        Entry(
            "smolmon_bandwidth_period_seconds",
            Type.GAUGE,
            "seconds",
            (),
            "Time in which every path is tested once each way.",
        ),
        Entry(
            "smolmon_bandwidth_available",
            Type.GAUGE,
            "",
            (),
            "1 if libiperf, which tests need, can be loaded on this node, 0 if not.",
        ),
        Entry(
            "smolmon_bandwidth_test_in_progress",
            Type.GAUGE,
            "",
            ("link",),
            "1 while a test may use this segment: our own, by hand, or another's by the timetable.",
        ),
        Entry(
            "smolmon_bandwidth_last_slot_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            ("link",),
            "Unix time until which a test may last have used this segment; now, while one does.",
        ),
        Entry(
            "smolmon_firewall_enabled",
            Type.GAUGE,
            "",
            (),
            "1 if the machine's own firewall is switched on.",
        ),
        Entry(
            "smolmon_firewall_block_all",
            Type.GAUGE,
            "",
            (),
            "1 if the machine's own firewall lets no connection in.",
        ),
        Entry(
            "smolmon_firewall_stealth",
            Type.GAUGE,
            "",
            (),
            "1 if the machine's own firewall keeps it from answering pings.",
        ),
        Entry(
            "smolmon_network_events_total",
            Type.COUNTER,
            "",
            ("topic",),
            "How often the operating system told of changes in the network, by topic.",
        ),
        Entry(
            "smolmon_network_event_overflows_total",
            Type.COUNTER,
            "",
            (),
            "How often changes were lost, because too many came at once; all is then read again.",
        ),
        Entry(
            "smolmon_node_info",
            Type.INFO,
            "",
            ("platform", "ssh"),
            "The node's platform and ssh destination, as declared.",
        ),
        Entry(
            "smolmon_topology_info",
            Type.INFO,
            "",
            ("hash",),
            "Digest of the cluster file that the exporter runs with.",
        ),
        Entry(
            "smolmon_build_info",
            Type.INFO,
            "",
            ("version", "python"),
            "Version of smolmon, and of the Python that runs it.",
        ),
        Entry(
            "smolmon_config_last_reload_successful",
            Type.GAUGE,
            "",
            (),
            "1 if the cluster file could be used when it was last read, 0 if an older one is kept.",
        ),
        Entry(
            "smolmon_config_last_reload_success_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            (),
            "Unix time at which the cluster file was last read and could be used.",
        ),
        Entry(
            "smolmon_web_config_last_reload_successful",
            Type.GAUGE,
            "",
            (),
            "1 if the web configuration and its certificates could be used when last read.",
        ),
        Entry(
            "smolmon_web_certificate_expiry_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            (),
            "Unix time at which the certificate that the exporter serves with expires.",
        ),
        Entry(
            "smolmon_collector_success",
            Type.GAUGE,
            "",
            ("collector",),
            "1 if the collector succeeded in this scrape, 0 if it failed.",
        ),
        Entry(
            "smolmon_collector_duration_seconds",
            Type.GAUGE,
            "seconds",
            ("collector",),
            "How long the collector took in this scrape.",
        ),
        Entry(
            "smolmon_collector_last_success_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            ("collector",),
            "Unix time of the collector's last success.",
        ),
    )
}


def metric(name: str, samples: Iterable[tuple[Labels, float]]) -> Metric:
    """The counter, gauge or info metric `name` with a sample for each (labels, value).

    Raises KeyError for a name that is not in the table, ValueError for labels that are not its own.
    """
    entry = TABLE[name]
    family = Rows(name, entry.help, entry.type.value, entry.unit, entry.labels)
    for labels, value in samples:
        family.rows.append((_values(entry, labels), value))
    return family


def histogram(
    name: str, edges: Sequence[float], samples: Iterable[tuple[Labels, Sequence[int], float]]
) -> Metric:
    """The histogram `name` with a series for each (labels, counts, sum).

    `counts` holds one number for each bucket that ends at an edge, and one for what lies above the
    last; they do not accumulate.
    """
    entry = TABLE[name]
    family = Buckets(name, entry.help, entry.unit, entry.labels)
    family.edges = (*map(repr, edges), "+Inf")
    for labels, counts, total in samples:
        if len(counts) != len(family.edges):
            raise ValueError(f"{name} has {len(family.edges)} buckets, not {len(counts)}")
        family.rows.append((_values(entry, labels), counts, total))
    return family


def _values(entry: Entry, labels: Labels) -> tuple[str, ...]:
    own = entry.labels
    if tuple(labels) == own:  # as good as always, and three times as fast
        return tuple(labels.values())
    if labels.keys() != set(own):
        raise ValueError(f"{entry.name} has labels {own}, not {tuple(labels)}")
    return tuple(labels[name] for name in own)
