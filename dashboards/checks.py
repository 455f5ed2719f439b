"""The network guide's checks and troubleshooting rows, and what else has an alert of its own."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from smolmon.dashboards.common import C


@frozen
class Check:
    """`holds` gives 1 where the check passes and 0 where it fails, for each node (and target).

    `fix` is a command by platform; $1 stands for ssh's destination, $2 for the label `what`, $3 for
    the node. `known` has the label `cause`, and `hop` for the node to repair, where more than
    `cause` is known; its other labels are those of `holds`.
    `since` gives the Unix time since when it fails, with the labels of `holds`; where it is empty,
    the time is that of the node's alerts whose names `alerts` matches.
    """

    name: str
    guide: str
    holds: str
    cause: str
    fix: Mapping[str, str]
    what: str = "target"
    since: str = ""
    alerts: str = ""
    known: str = ""


def _last_reply(probe: str) -> str:
    return (
        f"max by (cluster, node, target) (smolmon_ping_last_reply_timestamp_seconds"
        f'{{{C},probe=~"{probe}"}})'
    )


def _explained(probe: str) -> str:
    """Why pings fail, where the rules know; `probe` is an expression."""
    return (
        "topk by (cluster, node, target) (1, group by (cluster, node, target, cause, hop)"
        f' (smolmon:explained_probe:info{{{C},probe=~"{probe}"}}))'
    )


def _last_pass(holds: str) -> str:
    """When it held last, within the hour: for what has no time of its own."""
    return f"max_over_time(timestamp(({holds}) == 1)[1h:30s])"


def _fails_since(holds: str) -> str:
    """As above; where it never held in that hour, since it is seen to fail."""
    return f"({_last_pass(holds)} or min_over_time(timestamp(({holds}) == 0)[1h:30s]))"


_LOOK = {
    "linux": "ssh $1 'ip -br address; ip route; ip neigh'",
    "macos": "ssh $1 'ifconfig; netstat -rn -f inet; arp -an'",
}
_PORTS = {"linux": "ssh $1 ip -br link", "macos": "ssh $1 networksetup -listallhardwareports"}
_REAPPLY = {
    "linux": "ssh $1 sudo nmcli device reapply $2",
    "macos": "smolmon setup",
}

_REQUESTS = (
    f"sum by (cluster, node, probe, target) (increase(smolmon_ping_requests_total{{{C}}}[5m]) > 30)"
)
# Not of a node that has just started: as many requests as the alert of delay wants. Over five
# minutes, and an outage counts for that long. One packet may still be on its way.
_LOSS = (
    f"min by (cluster, node, target) ({_REQUESTS} - sum by (cluster, node, probe, target) "
    f'(increase(smolmon_ping_results_total{{{C},result="reply"}}[5m]))'
    f" <= bool clamp_min(0.01 * {_REQUESTS}, 1.5))"
)
_SILENT = f"group by (cluster, node, target) (smolmon_ping_up{{{C}}} == 0)"
_WAS_SILENT = f"group by (cluster, node, target) (min_over_time(smolmon_ping_up{{{C}}}[5m]) == 0)"
_PORT_ANSWERS = (
    "max by (cluster, node, target) ("
    f'smolmon_tcp_connect_state{{{C},state="open"}}'
    f" and on (cluster) max by (cluster) (smolmon_listener_present{{{C}}}) == 1)"
)
_AS_QUICK = (
    "min by (cluster, node, target) ("
    f"rate(smolmon_ping_rtt_seconds_sum{{{C}}}[5m])"
    f" / (rate(smolmon_ping_rtt_seconds_count{{{C}}}[5m]) > 0)"
    f" <= bool smolmon_ping_rtt_threshold_seconds{{{C}}})"
)
_AS_WIDE = (
    "min by (cluster, node, target) ("
    f'smolmon_bandwidth_bytes_per_second{{{C},direction="receive"}}'
    f" >= bool smolmon_bandwidth_expected_bytes_per_second{{{C}}})"
)
_CABLES = f'{C},link!="management"'
# The end of a link that is nearer to the server, where more than two are on it. A storm is as in
# SmolmonBridgeLoop.
_NO_STORM = (
    f"min by (cluster, node, link) (smolmon:near_end:info{{{C}}}"
    f" * on (cluster, link) group_left () (0 * smolmon:storm:info{{{C}}} or"
    " group by (cluster, link) (count by (cluster, link) "
    f"(rate(smolmon_network_receive_packets_total{{{_CABLES}}}[1m])) > 2)))"
)
_MTU = f"smolmon_network_mtu_bytes{{{_CABLES}}}"


def _told(expr: str, cause: str) -> str:
    return f'label_replace({expr}, "cause", "{cause}", "", "")'


def _answers(
    name: str,
    guide: str,
    probe: str,
    cause: str,
    fix: Mapping[str, str] = _LOOK,
    *,
    alerts: str = "SmolmonPeerUnreachable|SmolmonFirewallHidesNode",
) -> Check:
    """That all targets of a probe answer."""
    return Check(
        name,
        guide,
        f'max by (cluster, node, target) (smolmon_ping_up{{{C},probe="{probe}"}})',
        cause,
        fix,
        since=_last_reply(probe),
        alerts=alerts,
        known=_explained(probe),
    )


def _routed(name: str, guide: str, purpose: str, alerts: str) -> Check:
    """That all routes for a purpose are there."""
    chosen = f'{{{C},purpose="{purpose}"}}'
    return Check(
        name,
        guide,
        f"min by (cluster, node, device) (smolmon_route_present{chosen})",
        "the route is missing, or another one overrules it",
        _REAPPLY,
        what="device",
        since=(
            f"max by (cluster, node, device) (smolmon_route_last_change_timestamp_seconds{chosen})"
        ),
        alerts=alerts,
    )


CHECKS = (
    Check(
        "Cables and interfaces are up",
        "Common issues: Thunderbolt link down, edge worker offline",
        f'min by (cluster, node, device) (smolmon_network_up{{{C},link!="management"}})',
        "a loose cable, or an interface that is switched off",
        _PORTS,
        what="device",
        alerts="SmolmonNoCarrier|SmolmonInterface(Missing|Disabled)|SmolmonSwitchDown",
    ),
    _answers(
        "The gateway answers",
        "Part 3: local Ethernet link",
        "gateway",
        "the cable, the interface, or the gateway itself",
    ),
    _answers(
        "The server answers",
        "Part 3: server via routing; Part 4: edge worker cannot reach server",
        "server",
        "forwarding or a route on the way: see the rows below",
        alerts="SmolmonServerUnreachable|SmolmonFirewallHidesNode",
    ),
    _answers(
        "The fabric answers",
        "Part 3: Thunderbolt fabric",
        "fabric",
        "a Thunderbolt cable, or a node in the middle of the chain",
    ),
    _answers(
        "Workers answer their gateway",
        "Part 3: edge workers, from the gateway; common issues: edge worker offline",
        "worker",
        "the worker is off, or its cable or interface",
    ),
    Check(
        "Gateways forward",
        "Part 4: Mac gateway not forwarding",
        "min by (cluster, node) ("
        f"smolmon_ip_forwarding_enabled{{{C}}}"
        f" and on (cluster, node, family) smolmon_ip_forwarding_expected{{{C}}} == 1)",
        "IP forwarding is disabled on the gateway",
        {
            "linux": "ssh $1 sudo sysctl -w net.ipv4.ip_forward=1",
            "macos": "ssh $1 sudo sysctl -w net.inet.ip.forwarding=1",
        },
        alerts="SmolmonForwardingDisabled",
    ),
    _routed(
        "Routes to the fabric",
        "Quick diagnostics: routing table; Part 4: re-add the route",
        "forward",
        alerts="SmolmonRouteMissing",
    ),
    _routed(
        "Return routes to the workers",
        "not in the guide: without them no answer comes back",
        "return",
        alerts="SmolmonReturnRouteMissing",
    ),
    Check(
        "Paths are as declared",
        "Quick diagnostics: 2-3 hops from worker to server",
        # Where nothing comes back, only the kernel knows that packets leave the wrong way.
        f"min by (cluster, node, target) (smolmon_path_hops{{{C}}}"
        f" == bool smolmon_path_hops_expected{{{C}}}"
        f' or label_replace(smolmon_path_first_hop_as_declared{{{C}}}, "of", "kernel", "", ""))',
        "packets take another way than the declared one",
        {"linux": "ssh $1 ip route", "macos": "ssh $1 netstat -rn -f inet"},
        alerts="SmolmonPathUnexpected|SmolmonRouteOverruled",
    ),
    Check(
        "Workers' segments are kept apart",
        "Part 3: cross-subnet isolation [FAIL]",
        f'min by (cluster, node, target) (smolmon_check_state{{{C},check="isolation",state="pass"}}'
        " unless on (cluster, node, target, link)"
        f' smolmon_check_state{{{C},check="isolation",state="inconclusive"}} == 1)',
        "a bridge, or a route that nobody declared",
        {"linux": "ssh $1 ip route", "macos": "ssh $1 netstat -rn -f inet"},
        alerts="SmolmonIsolationBroken",
    ),
    _answers(
        "The internet answers",
        "Part 3: internet connectivity",
        "internet",
        "Wi-Fi, the router, or a default route by Ethernet",
        {"linux": "ssh $1 ip route show default", "macos": "ssh $1 netstat -rn -f inet"},
        alerts="SmolmonInternet.*|SmolmonDefaultRouteMissing",
    ),
    Check(
        "Internet traffic leaves by Wi-Fi",
        "Part 4: internet broken on edge worker; common issues: internet broken after setup",
        f"min by (cluster, node, device) (smolmon_default_route_on_segment{{{C}}} == bool 0)",
        "Ethernet became the default route",
        {
            "linux": "ssh $1 nmcli -f connection.id,ipv4.never-default connection show --active",
            "macos": "ssh $1 networksetup -listnetworkserviceorder",
        },
        what="device",
        alerts="SmolmonDefaultRouteStolen",
    ),
    Check(
        "Neighbours' hardware addresses are right",
        "Part 4: ARP cache issues",
        "min by (cluster, node, target) ("
        # Once is a replaced machine or adapter, if it then is the declared node's.
        f"increase(smolmon_neighbor_mac_changes_total{{{C}}}[15m]) <= bool 1.5"
        f' or label_replace(0 * smolmon:neighbor_wrong:info{{{C}}}, "of", "node", "", ""))',
        "two machines with one address, or a stale entry",
        {"linux": "ssh $1 ip neigh", "macos": "ssh $1 arp -an"},
        alerts="SmolmonNeighborWrong|SmolmonDuplicateAddress",
    ),
    Check(
        "The training port answers while a server listens",
        "Part 4: connection refused on training port",
        _PORT_ANSWERS,
        "a firewall on the server, or a server that listens elsewhere",
        _LOOK,
        since=_fails_since(_PORT_ANSWERS),
        alerts="SmolmonTrainingPortFiltered|SmolmonTrainingServer(Elsewhere|Stopped)",
        # What breaks the way to the server breaks this too; a firewall answers pings.
        known=_explained("server"),
    ),
    Check(
        "The server listens on the fabric only",
        "Design principles: server listens on Thunderbolt",
        f"min by (cluster, node) (smolmon_listener_exposed{{{C}}} == bool 0)",
        "the training server is bound to all addresses",
        {
            "linux": "ssh $1 sudo ss -tlnp",
            "macos": "ssh $1 sudo lsof -nP -iTCP -sTCP:LISTEN",
        },
        alerts="SmolmonTrainingServerExposed",
    ),
    Check(
        "Round trips are as expected",
        "Part 5: latency testing; common issues: slow training",
        _AS_QUICK,
        "other traffic, a busy machine, or a bad cable",
        {"linux": "ssh $1 top -b -n 1", "macos": "ssh $1 top -l 1 -n 10 -o cpu"},
        since=_fails_since(_AS_QUICK),
        alerts="SmolmonLatencyHigh",
    ),
    Check(
        "Packet loss stays below 1 %",
        "Part 5: packet loss testing",
        _LOSS,
        "a bad cable, interface errors, or a busy machine",
        {"linux": "ssh $1 ip -s link", "macos": "ssh $1 netstat -ib"},
        # Where nothing answers, since the last answer: the alert leaves that to others.
        since=(
            f"({_last_reply('.+')} and on (cluster, node, target) {_SILENT} or {_last_pass(_LOSS)})"
        ),
        alerts="SmolmonPacketLoss",
        known=(
            f"({_explained('.+')}"
            f" or on (cluster, node, target) {_told(_SILENT, 'nothing answers: see above')}"
            f" or on (cluster, node, target) {_told(_WAS_SILENT, 'nothing answered for a while')})"
        ),
    ),
    Check(
        "Bandwidth is as expected",
        "Part 5: bandwidth testing; common issues: slow training",
        _AS_WIDE,
        "a cable, a small MTU, other traffic, or a busy processor",
        {"linux": "smolmon bandwidth run $2 $3", "macos": "smolmon bandwidth run $2 $3"},
        since=_fails_since(_AS_WIDE),
        alerts="SmolmonBandwidth.*|SmolmonLinkSpeedLow",
    ),
    Check(
        "Interfaces see no errors",
        "Part 5: network interface errors",
        "min by (cluster, node, device) ("
        f"increase(smolmon_network_receive_errors_total{{{C}}}[5m])"
        f" + increase(smolmon_network_transmit_errors_total{{{C}}}[5m]) == bool 0)",
        "a bad cable or plug",
        {"linux": "ssh $1 ip -s link show $2", "macos": "ssh $1 netstat -I $2"},
        what="device",
        alerts="SmolmonInterfaceErrors",
    ),
    Check(
        "Declared addresses are set",
        "Quick diagnostics: addresses",
        f"min by (cluster, node, device) (smolmon_address_present{{{C}}})",
        "the interface has another address, or none",
        _REAPPLY,
        what="device",
        alerts="SmolmonAddressMissing",
    ),
    Check(
        "Packet size and duplex agree",
        "not in the guide: large packets vanish, or links take turns",
        "min by (cluster, node, device) ("
        # A cable between two: who has the usual size is not at fault.
        f"0 * ({_MTU} == 1500 and on (cluster, link) count by (cluster, link) ({_MTU}) == 2) + 1"
        f" or {_MTU} == bool on (cluster, link) group_left ()"
        f" quantile by (cluster, link) (0.5, {_MTU})"
        f' or label_replace(smolmon_network_full_duplex{{{C}}}, "of", "duplex", "", ""))',
        "an MTU unlike that of the others on the link, or a medium set by hand",
        {
            "linux": "ssh $1 ip -details link show $2",
            "macos": "ssh $1 networksetup -getMTU $2",
        },
        what="device",
        alerts="SmolmonMtuMismatch|SmolmonHalfDuplex",
    ),
    Check(
        "No packets run in circles",
        "not in the guide: a loop drowns all else",
        _NO_STORM,
        "a cable that joins two ports of the switch, or bridges in a ring",
        {"linux": "ssh $1 ip -s link", "macos": "ssh $1 netstat -ib"},
        what="link",
        since=_last_pass(_NO_STORM),
        alerts="SmolmonBridgeLoop",
    ),
    Check(
        "Clocks are right",
        "not in the guide: times and delays are wrong without",
        "min by (cluster, node) ("
        f'abs(timestamp(smolmon_collector_last_success_timestamp_seconds{{{C},collector="ping"}})'
        f' - smolmon_collector_last_success_timestamp_seconds{{{C},collector="ping"}}) <= bool 10'
        f" or increase(smolmon_clock_steps_total{{{C}}}[10m]) <= bool 2)",
        "the clock is not set over the network, or is set again and again",
        {"linux": "ssh $1 timedatectl status", "macos": "ssh $1 sntp time.apple.com"},
        alerts="SmolmonClock.*",
    ),
    Check(
        "Nodes can be reached for management",
        "Common issues: cannot SSH to Mac mini (by its Wi-Fi address, not the cluster's)",
        f'min by (cluster, node) (up{{job="smolmon",{C}}})',
        "the node is off, its Wi-Fi is gone, or its exporter has stopped",
        {},
        alerts="SmolmonNodeDown|SmolmonExporterDown|SmolmonManagementUnreachable",
    ),
)
