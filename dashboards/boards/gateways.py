"""Gateways and routes: what every node should do, beside what its kernel does."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.columns import MERGE, organized
from smolmon.dashboards.common import GATEWAYS, C, events, variables
from smolmon.dashboards.grafana import (
    NONE_IS_GOOD,
    Section,
    graph,
    override,
    query,
    states,
    table,
    timeline,
)
from smolmon.dashboards.grafana import (
    board as board_of,
)
from smolmon.dashboards.mend import Json

GOOD_BAD = {1: ("yes", "green"), 0: ("no", "red")}


def board() -> Json:
    """The board."""
    return board_of(
        GATEWAYS,
        "smolmon · Gateways and routes",
        "Forwarding, routes there and back, ways to the internet, and what must not be reachable.",
        [
            Section("Gateways", _gateways()),
            Section("Routes", _routes()),
            Section("Paths", _paths()),
            Section("Internet, and what is kept apart", _apart()),
            Section("Carriers and addresses", _carriers()),
        ],
        variables=variables(),
        annotations=events(),
    )


def _gateways() -> tuple[Any, ...]:
    on = f"smolmon_ip_forwarding_enabled{{{C}}}"
    needed = f"smolmon_ip_forwarding_expected{{{C}}}"
    return (
        timeline(
            "Forwarding on the nodes that need it",
            "Whether each gateway of the declared cluster forwards packets, as its kernel says. "
            "Only nodes that must forward are shown.",
            [query(f"{on} and on (cluster, node, family) {needed} == 1", "{{node}} {{family}}")],
            values=GOOD_BAD,
            size=(12, 7),
        ),
        table(
            "Forwarding: expected and observed",
            "All nodes. A node that forwards without need is no fault; one that must and does not "
            "cuts its workers off.",
            [
                query(f"max by (node) ({needed})", table=True),
                query(f"max by (node) ({on})", table=True),
            ],
            transformations=[
                MERGE,
                organized(
                    "node",
                    "Value #A",
                    "Value #B",
                    **{"Value #A": "must forward", "Value #B": "forwards"},
                ),
            ],
            values={1: ("yes", "text"), 0: ("no", "text")},
            size=(12, 7),
        ),
    )


def _routes() -> tuple[Any, ...]:
    def lanes(purpose: str) -> list[Any]:
        return [
            query(
                f'smolmon_route_present{{{C},purpose="{purpose}"}}',
                "{{node}} to {{to}} by {{via_node}}",
            )
        ]

    keys = "node, to, destination, via_node, via, device, purpose"
    return (
        timeline(
            "Routes to the fabric",
            "Whether each worker's kernel would use the declared route.",
            lanes("forward"),
            values={1: ("there", "green"), 0: ("missing", "red")},
        ),
        timeline(
            "Return routes",
            "Whether each node of the fabric knows the way back to the workers. Without it, their "
            "requests arrive and the answers are lost.",
            lanes("return"),
            values={1: ("there", "green"), 0: ("missing", "red")},
        ),
        table(
            "Declared routes",
            "Every route that the cluster file asks for, whether it is there, how often it went "
            "missing, and when it last came or went.",
            [
                query(f"min by ({keys}) (smolmon_route_present{{{C}}})", table=True),
                query(f"max by ({keys}) (smolmon_route_losses_total{{{C}}})", table=True),
                query(
                    f"1000 * max by ({keys}) (smolmon_route_last_change_timestamp_seconds{{{C}}})",
                    table=True,
                ),
            ],
            transformations=[
                MERGE,
                organized(
                    "node",
                    "purpose",
                    "to",
                    "destination",
                    "via_node",
                    "via",
                    "device",
                    "Value #A",
                    "Value #B",
                    "Value #C",
                    via_node="by",
                    **{"Value #A": "there", "Value #B": "losses", "Value #C": "changed"},
                ),
            ],
            overrides=[
                override(
                    "there",
                    {"mappings": states(GOOD_BAD), "custom.cellOptions": {"type": "color-text"}},
                ),
                override("changed", {"unit": "dateTimeFromNow"}),
            ],
            sort=("there", False),
            size=(24, 9),
        ),
    )


def _paths() -> tuple[Any, ...]:
    keys = "node, target, probe, link"
    return (
        timeline(
            "First hop as declared",
            "Whether the kernel, all its rules considered, would send packets for the target the "
            "declared way.",
            [
                query(
                    f"smolmon_path_first_hop_as_declared{{{C}}}",
                    "{{node}} to {{target}} ({{probe}})",
                )
            ],
            values=GOOD_BAD,
            size=(12, 10),
        ),
        table(
            "Links to the target: expected and observed",
            "How many links packets cross, found by limiting their time to live, beside the "
            "declared number. The guide looks for this with traceroute.",
            [
                query(f"max by ({keys}) (smolmon_path_hops_expected{{{C}}})", table=True),
                query(f"max by ({keys}) (smolmon_path_hops{{{C}}})", table=True),
            ],
            transformations=[
                MERGE,
                organized(
                    "node",
                    "target",
                    "probe",
                    "link",
                    "Value #A",
                    "Value #B",
                    **{"Value #A": "declared", "Value #B": "found"},
                ),
            ],
            size=(12, 10),
        ),
        table(
            "Gateways on the way: found",
            "The gateways that passed a request on, in order.",
            [
                query(
                    f"max by ({keys}, position, address) (smolmon_path_gateway_info{{{C}}})",
                    table=True,
                )
            ],
            transformations=[
                organized(
                    "node", "target", "probe", "position", "address", hidden=["Value", "link"]
                )
            ],
            size=(12, 8),
        ),
        table(
            "Gateways on the way: declared",
            "The gateways that pass the packets of each probe on, as the cluster file has it.",
            [
                query(
                    f"max by (node, target, probe, hop) (smolmon_path_hop_info{{{C}}})", table=True
                )
            ],
            transformations=[organized("node", "target", "probe", "hop", hidden=["Value"])],
            size=(12, 8),
        ),
        table(
            "Steps of each way: declared",
            "Every step: who hands packets on, over which segment, to whom. In a chain the nodes "
            "in the middle are steps too. Loss and delay are judged by path: by the probes of both "
            "its ends together.",
            [
                query(
                    "max by (node, target, probe, path, hop, over, next) "
                    f"(smolmon_path_step_info{{{C}}} * on (cluster, node, probe, target, link)"
                    f" group_left (path) smolmon_path_info{{{C}}})",
                    table=True,
                )
            ],
            transformations=[
                organized(
                    "node", "target", "probe", "path", "hop", "over", "next", hidden=["Value"]
                )
            ],
            size=(12, 8),
        ),
        table(
            "Paths that a known cause breaks",
            "Probes that fail because of a cause with an alert of its own, and the node to repair.",
            [
                query(
                    "max by (node, target, probe, cause, hop) "
                    f"(smolmon:explained_probe:info{{{C}}})",
                    table=True,
                )
            ],
            transformations=[
                organized("node", "target", "probe", "cause", "hop", hidden=["Value"], hop="repair")
            ],
            size=(12, 8),
        ),
    )


def _apart() -> tuple[Any, ...]:
    return (
        timeline(
            "Internet traffic by a declared segment",
            "It should leave by Wi-Fi: 1 means that Ethernet or Thunderbolt became the default "
            "route.",
            [query(f"smolmon_default_route_on_segment{{{C}}}", "{{node}} {{device}} ({{link}})")],
            values={0: ("no, as it should", "green"), 1: ("stolen", "red")},
        ),
        timeline(
            "Default route",
            "Whether the kernel has a way for internet traffic, and the interface and router it "
            "goes by.",
            [
                query(f"smolmon_default_route_present{{{C}}}", "{{node}} has one"),
                query(f"smolmon_default_route_info{{{C}}}", "{{node}} by {{device}} to {{via}}"),
            ],
            values=GOOD_BAD,
        ),
        timeline(
            "Kept apart",
            "Pairs that must not reach each other. It passes only while the way there is known to "
            "work otherwise; else it says nothing.",
            [
                query(
                    f'smolmon_check_state{{{C},check="isolation",state="pass"}}'
                    f' + ignoring (state) 2 * smolmon_check_state{{{C},check="isolation",'
                    'state="inconclusive"}',
                    "{{node}} to {{target}}",
                )
            ],
            values={
                1: ("apart", "green"),
                0: ("reachable", "red"),
                2: ("inconclusive", "text"),
            },
            size=(24, 7),
        ),
    )


def _carriers() -> tuple[Any, ...]:
    return (
        timeline(
            "Carriers",
            "Whether each declared interface is there, switched on, and has a carrier.",
            [query(f"smolmon_network_up{{{C}}}", "{{node}} {{device}} ({{link}})")],
            values={1: ("up", "green"), 0: ("down", "red")},
            size=(12, 9),
        ),
        timeline(
            "Addresses",
            "Whether each declared address is set on its interface.",
            [query(f"smolmon_address_present{{{C}}}", "{{node}} {{address}} ({{link}})")],
            values={1: ("set", "green"), 0: ("missing", "red")},
            size=(12, 9),
        ),
        graph(
            "Routes lost",
            "How often declared routes went missing, also between two scrapes.",
            [
                query(
                    "sum by (node, to) "
                    f"(increase(smolmon_route_losses_total{{{C}}}[$__rate_interval]))",
                    "{{node}} to {{to}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(12, 7),
        ),
        table(
            "Cables",
            "The node at the other end of each cable that ends at no switch, as declared.",
            [query(f"max by (node, link, target) (smolmon_cable_info{{{C}}})", table=True)],
            transformations=[organized("node", "link", "target", hidden=["Value"])],
            size=(12, 7),
        ),
    )
