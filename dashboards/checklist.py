"""The network guide's checks and troubleshooting rows, as queries that always give an answer.

Each check is one query, and gives one row for each node that fails it, with the command that looks
or repairs; else one row that says how many pass; else one that says that nothing is known. A row
never just disappears.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from smolmon.dashboards.common import C

FAIL, UNKNOWN, PASS = 0, 1, 2  # in the order in which they are shown
STATES = {FAIL: ("FAIL", "red"), UNKNOWN: ("NOT KNOWN", "#6e7077"), PASS: ("PASS", "green")}

_NODE = f"max by (cluster, node, platform, ssh) (smolmon_node_info{{{C}}})"


@frozen
class Check:
    """`holds` gives 1 where the check passes and 0 where it fails, for each node (and target).

    `fix` is a command by platform; $1 stands for ssh's destination, $2 for the label `what`, $3 for
    the node. Where the rules can explain why a `probe` fails, the cause is theirs.
    `since` gives the Unix time since when it fails, with the labels of `holds`; where it is empty,
    the time is that of the alerts whose names `alerts` matches.
    """

    name: str
    guide: str
    holds: str
    cause: str
    fix: Mapping[str, str]
    what: str = "target"
    since: str = ""
    alerts: str = ""
    probe: str = ""


def _ping(probe: str) -> str:
    return f'max by (cluster, node, target) (smolmon_ping_up{{{C},probe="{probe}"}})'


def _last_reply(probe: str) -> str:
    return (
        f"max by (cluster, node, target) (smolmon_ping_last_reply_timestamp_seconds"
        f'{{{C},probe="{probe}"}})'
    )


def _route(purpose: str) -> str:
    return f'min by (cluster, node, device) (smolmon_route_present{{{C},purpose="{purpose}"}})'


def _route_change(purpose: str) -> str:
    return (
        "max by (cluster, node, device) (smolmon_route_last_change_timestamp_seconds"
        f'{{{C},purpose="{purpose}"}})'
    )


_LOOK = {
    "linux": "ssh $1 'ip -br address; ip route; ip neigh'",
    "macos": "ssh $1 'ifconfig; netstat -rn -f inet; arp -an'",
}
_PORTS = {"linux": "ssh $1 ip -br link", "macos": "ssh $1 networksetup -listallhardwareports"}
_REAPPLY = {
    "linux": "ssh $1 sudo nmcli device reapply $2",
    "macos": "smolmon setup",
}

CHECKS = (
    Check(
        "Cables and interfaces are up",
        "Common issues: Thunderbolt link down, edge worker offline",
        f'min by (cluster, node, device) (smolmon_network_up{{{C},link!="management"}})',
        "a loose cable, or an interface that is switched off",
        _PORTS,
        what="device",
        alerts="SmolmonNoCarrier|SmolmonInterface.*",
    ),
    Check(
        "The gateway answers",
        "Part 3: local Ethernet link",
        _ping("gateway"),
        "the cable, the interface, or the gateway itself",
        _LOOK,
        since=_last_reply("gateway"),
        probe="gateway",
    ),
    Check(
        "The server answers",
        "Part 3: server via routing; Part 4: edge worker cannot reach server",
        _ping("server"),
        "forwarding or a route on the way: see the rows below",
        _LOOK,
        since=_last_reply("server"),
        probe="server",
    ),
    Check(
        "The fabric answers",
        "Part 3: Thunderbolt fabric",
        _ping("fabric"),
        "a Thunderbolt cable, or a node in the middle of the chain",
        _LOOK,
        since=_last_reply("fabric"),
        probe="fabric",
    ),
    Check(
        "Workers answer their gateway",
        "Part 3: edge workers, from the gateway; common issues: edge worker offline",
        _ping("worker"),
        "the worker is off, or its cable or interface",
        _LOOK,
        since=_last_reply("worker"),
        probe="worker",
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
    Check(
        "Routes to the fabric",
        "Quick diagnostics: routing table; Part 4: re-add the route",
        _route("forward"),
        "the route is missing, or another one overrules it",
        _REAPPLY,
        what="device",
        since=_route_change("forward"),
    ),
    Check(
        "Return routes to the workers",
        "not in the guide: without them no answer comes back",
        _route("return"),
        "the route is missing, or another one overrules it",
        _REAPPLY,
        what="device",
        since=_route_change("return"),
    ),
    Check(
        "Paths are as declared",
        "Quick diagnostics: 2-3 hops from worker to server",
        f"min by (cluster, node, target) (smolmon_path_hops{{{C}}}"
        f" == bool smolmon_path_hops_expected{{{C}}})",
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
    Check(
        "The internet answers",
        "Part 3: internet connectivity",
        _ping("internet"),
        "Wi-Fi, the router, or a default route by Ethernet",
        {"linux": "ssh $1 ip route show default", "macos": "ssh $1 netstat -rn -f inet"},
        since=_last_reply("internet"),
        probe="internet",
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
        alerts="SmolmonDefaultRoute.*",
    ),
    Check(
        "Neighbours' hardware addresses are steady",
        "Part 4: ARP cache issues",
        "min by (cluster, node, target) ("
        # Once is a replaced machine or adapter.
        f"increase(smolmon_neighbor_mac_changes_total{{{C}}}[15m]) <= bool 1.5)",
        "two machines with one address, or a stale entry",
        {"linux": "ssh $1 ip neigh", "macos": "ssh $1 arp -an"},
        alerts="SmolmonNeighborWrong|SmolmonDuplicateAddress",
    ),
    Check(
        "The training port answers while a server listens",
        "Part 4: connection refused on training port",
        "max by (cluster, node, target) ("
        f'smolmon_tcp_connect_state{{{C},state="open"}}'
        f" and on (cluster) max by (cluster) (smolmon_listener_present{{{C}}}) == 1)",
        "a firewall on the server, or a server that listens elsewhere",
        _LOOK,
        alerts="SmolmonTrainingPortFiltered|SmolmonTrainingServerElsewhere",
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
        "min by (cluster, node, target) ("
        f"rate(smolmon_ping_rtt_seconds_sum{{{C}}}[5m])"
        f" / (rate(smolmon_ping_rtt_seconds_count{{{C}}}[5m]) > 0)"
        f" <= bool smolmon_ping_rtt_threshold_seconds{{{C}}})",
        "other traffic, a busy machine, or a bad cable",
        {"linux": "ssh $1 top -b -n 1", "macos": "ssh $1 top -l 1 -n 10 -o cpu"},
        alerts="SmolmonLatencyHigh",
    ),
    Check(
        "Packet loss stays below 1 %",
        "Part 5: packet loss testing",
        "min by (cluster, node, target) ("
        "1 - ("
        "sum by (cluster, node, probe, target) "
        f'(rate(smolmon_ping_results_total{{{C},result="reply"}}[5m]))'
        " / "
        f"sum by (cluster, node, probe, target) (rate(smolmon_ping_requests_total{{{C}}}[5m]) > 0)"
        ") <= bool 0.01)",
        "a bad cable, interface errors, or a busy machine",
        {"linux": "ssh $1 ip -s link", "macos": "ssh $1 netstat -ib"},
        alerts="SmolmonPacketLoss",
    ),
    Check(
        "Bandwidth is as expected",
        "Part 5: bandwidth testing; common issues: slow training",
        "min by (cluster, node, target) ("
        f'smolmon_bandwidth_bytes_per_second{{{C},direction="receive"}}'
        f" >= bool smolmon_bandwidth_expected_bytes_per_second{{{C}}})",
        "a cable, a small MTU, other traffic, or a busy processor",
        {"linux": "smolmon bandwidth run $2 $3", "macos": "smolmon bandwidth run $2 $3"},
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
        "Nodes can be reached for management",
        "Common issues: cannot SSH to Mac mini (by its Wi-Fi address, not the cluster's)",
        f'min by (cluster, node) (up{{job="smolmon",{C}}})',
        "the node is off, its Wi-Fi is gone, or its exporter has stopped",
        {},
        alerts="SmolmonNodeDown|SmolmonExporterDown|SmolmonManagementUnreachable",
    ),
)


def state(check: Check) -> str:
    """The query for the rows of `check`: the value is PASS, FAIL or UNKNOWN."""
    passed = _named(f"{PASS} + 0 * min by (cluster) ({check.holds})", node="all")
    unknown = _named(f"vector({UNKNOWN})", node="none")
    rows = f"{_failed(check)} or on () {passed} or on () {unknown}"
    return _named(rows, check=check.name, guide=check.guide)


def _failed(check: Check) -> str:
    """The nodes at which the check fails, with `target`, `cause` and `fix`."""
    said = f"({check.holds}) == 0"
    if check.what != "target":
        said = f'label_replace({said}, "target", "$1", "{check.what}", "(.+)")'
    said = f"max by (cluster, node, target) ({said})"
    # Without the node's own word the row is there all the same, but for the command.
    said = (
        f"({said} * on (cluster, node) group_left (platform, ssh) {_NODE}"
        f" or on (cluster, node) {said})"
    )
    if check.probe:
        known = (
            "topk by (cluster, node, target) (1, group by (cluster, node, target, cause, hop)"
            f' (smolmon:explained_probe:info{{{C},probe="{check.probe}"}}))'
        )
        told = f"{said} * on (cluster, node, target) group_left (cause, hop) {known}"
        told = f'label_join({told}, "cause", " at ", "cause", "hop")'
        said = f"({told} or on (cluster, node, target) {said})"
    said = f'label_replace({said}, "cause", "{check.cause}", "cause", "")'
    said = f'label_join({said}, "key", " ", "platform", "ssh", "target", "node")'
    for platform, command in check.fix.items():
        said = f'label_replace({said}, "fix", "{command}", "key", "{platform} (.+) (.*) (.+)")'
    if not check.fix:
        said = _named(said, fix="smolmon verify")
    return f"max by (cluster, node, target, cause, fix) ({said})"


def _named(expr: str, **labels: str) -> str:
    for name, text in labels.items():
        expr = f'label_replace({expr}, "{name}", "{text}", "", "")'
    return expr


def since() -> str:
    """Since when each failed check fails, in milliseconds: check and node are the labels."""
    parts = []
    for check in CHECKS:
        if check.since:
            time = f"{check.since} and ({check.holds}) == 0"
        else:
            time = f'ALERTS_FOR_STATE{{{C},alertname=~"{check.alerts}"}}'
        parts.append(f"max by (check, node) ({_named(time, check=check.name)})")
    return "1000 * (" + " or ".join(parts) + ")"
